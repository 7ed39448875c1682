"""Moments of a training are kept as they were."""

import torch

from medprotect.audit.attack.countermeasure import Countermeasure
from medprotect.audit.attempt import Task, attempt
from medprotect.audit.moments import pack_moments, unpack_moments

from .bands import bands, linear

TASK = Task(bands(80, seed=1), bands(120, seed=2), 4)


def test_moments_are_unpacked_as_they_were_packed() -> None:
    few = bands(8, seed=3)
    for given in (None, few):
        run = attempt(linear, Countermeasure(), bands(64), TASK, seed=1, steps=20, few=given)
        packed = pack_moments(run.moments)
        again = pack_moments(unpack_moments(packed))
        assert ("few_features" in packed) == (given is not None)
        assert packed.keys() == again.keys()
        assert all(torch.equal(packed[name], again[name]) for name in packed)


def test_no_moment_is_packed_as_nothing() -> None:
    assert pack_moments([]) == {}
    assert unpack_moments({}) == []
