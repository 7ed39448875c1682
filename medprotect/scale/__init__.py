"""Runs on the nodes of a cluster."""
