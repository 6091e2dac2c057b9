"""Where images come from; the file name is the word before the colon in `data:`."""
