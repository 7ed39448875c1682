"""Pipelines as MONAI bundles: what their configs name, what writes them, packs and opens them."""
