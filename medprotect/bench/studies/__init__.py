"""Studies of the noise, each a program of its own: ``python -m medprotect.bench.studies.NAME``."""
