"""medprotect makes medical images unlearnable and leaves them readable."""

__version__ = "0.1.0"
