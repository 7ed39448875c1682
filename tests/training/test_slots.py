from pathlib import Path

import pytest

from medprotect.confounder.card import load_card
from medprotect.training.slots import KINDS, make_pipeline


@pytest.mark.parametrize("name", KINDS)
def test_what_is_shipped_is_what_it_makes(name: str, tmp_path: Path) -> None:
    made, shipped = make_pipeline(tmp_path / name, *KINDS[name]), load_card(name)
    assert made.weights == shipped.weights
    assert (made.images, made.codes, made.noise) == (shipped.images, shipped.codes, shipped.noise)
