"""One file per data source; the file name is what a recipe writes before the colon.

    FORM                                      how a recipe writes it: "folder:PATH", or "digits"
    find(rest, form, data_dir)                -> `cache.Source`; `rest` follows the colon

A source is imported to read a recipe, so it imports heavy libraries only inside its functions.
"""
