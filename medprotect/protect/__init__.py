"""The run: read, add noise, write, verify, journal."""
