"""Runs on the nodes of a cluster, and of trees in an object store."""
