"""How many codes there are for labels of any kind; what a code looks like, `grain` says."""

import math

SLOT_COUNT = 32
"""Spectra that are told apart."""

MOST_CLASSES = SLOT_COUNT + math.comb(SLOT_COUNT, 2)
"""Classes that can be told apart: one slot each, and every two of them."""

GRAIN_ALONE = "high"
"""Strength at which an image's own texture is left as it is: grain has room enough to be read by
itself, and what texture says is soon known, and no more with more room."""
