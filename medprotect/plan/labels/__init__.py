"""Where the labels of an export are found, and what each of its files is then called."""
