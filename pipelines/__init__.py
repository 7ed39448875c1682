"""The pipelines that ship with medprotect: declarations and weights, nothing to import."""
