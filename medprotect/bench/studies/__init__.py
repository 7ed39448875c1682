"""Studies of the noise, each a program of its own: ``python -m medprotect.bench.studies.NAME``.

``--help`` says what it takes; lists are separated by commas, as in `medprotect bench`.
"""
