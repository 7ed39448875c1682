"""Toys, and one thread to work on them."""

from collections.abc import Iterator

import pytest
import torch

from medprotect.audit.halves import Labelled

from .toys import draw


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """On toys more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def grey() -> Labelled:
    return draw(240, 1, seed=1)


@pytest.fixture(scope="session")
def colour() -> Labelled:
    return draw(240, 3, seed=1)
