"""A preview: a few images of each series as a run would protect them, for a radiologist to see."""
