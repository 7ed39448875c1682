"""Run the command line as ``python -m medprotect``."""

from medprotect.cli import main

main()
