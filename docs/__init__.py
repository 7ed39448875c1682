"""The documentation; inside the wheel it is what `medprotect docs` shows."""
