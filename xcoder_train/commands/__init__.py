"""The commands of `xcoder`, a file for each group of them; `cli.py` loads the file of the one that is called."""
