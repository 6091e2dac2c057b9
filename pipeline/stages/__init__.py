"""One file per stage; the file name is the recipe key."""
