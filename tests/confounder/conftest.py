"""Pipelines of these tests are trained as those of the tests of training."""

from ..training.conftest import recipe, stripes

__all__ = ["recipe", "stripes"]
