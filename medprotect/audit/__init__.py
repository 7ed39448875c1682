"""Victims, trained to see what the protection holds."""
