"""Protections compared on public data sets."""
