"""The report of a run: a signed statement for others to check, and a page for people to read."""
