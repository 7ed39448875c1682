"""What is held out of a training set shares no group with what is learned from."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from medprotect.errors import ConfigError
from medprotect.training.assigning import split_held_out
from medprotect.training.samples import Samples, hold_out, step_rng

Stripes = Callable[..., Samples]


def grouped(samples: Samples, groups: Tensor) -> Samples:
    return replace(samples, groups=groups)


def groups_of(samples: Samples) -> set[int]:
    assert samples.groups is not None
    return set(samples.groups.tolist())


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together(stripes: Stripes, seed: int) -> None:
    samples = grouped(stripes(96), torch.arange(96) // 6)
    learned, held = hold_out(samples, 32, step_rng(seed, "any", 0))
    assert len(held) == 30
    assert len(learned) == 66
    assert not groups_of(learned) & groups_of(held)


def test_each_image_keeps_its_label_and_group(stripes: Stripes) -> None:
    samples = grouped(stripes(96), torch.arange(96) // 6)
    known = {image.numpy().tobytes(): at for at, image in enumerate(samples.presented)}
    for part in hold_out(samples, 32, step_rng(1, "any", 0)):
        at = [known[image.numpy().tobytes()] for image in part.presented]
        assert part.groups is not None
        assert part.groups.tolist() == [each // 6 for each in at]
        assert part.labels.equal(samples.labels[at])


def test_without_groups_as_many_images_as_asked_for_are_held_out(stripes: Stripes) -> None:
    learned, held = hold_out(stripes(96), 32, step_rng(1, "any", 0))
    assert (len(learned), len(held)) == (64, 32)


def test_of_groups_that_are_all_larger_the_smallest_is_held_out(stripes: Stripes) -> None:
    groups = torch.tensor([0] * 20 + [1] * 12 + [2] * 16)
    learned, held = split_held_out(grouped(stripes(48), groups), seed=1)
    assert (groups_of(learned), groups_of(held)) == ({0, 2}, {1})


@pytest.mark.parametrize("seed", range(5))
def test_no_class_is_held_out_as_a_whole(stripes: Stripes, seed: int) -> None:
    samples = stripes(48)
    of_one_class_alone = torch.where(samples.labels == 3, 0, 1 + torch.arange(48))
    samples = grouped(samples, of_one_class_alone)
    learned, held = hold_out(samples, 24, step_rng(seed, "any", 0))
    assert 0 in groups_of(learned)
    assert len(held) == 24


def test_classes_of_one_group_each_are_refused(stripes: Stripes) -> None:
    samples = stripes(48)
    with pytest.raises(ConfigError, match="smaller groups"):
        split_held_out(grouped(samples, samples.labels), seed=1)


def test_groups_tell_training_sets_apart(stripes: Stripes) -> None:
    samples = stripes(48)
    known = [grouped(samples, torch.arange(48) // each).sha256 for each in (2, 3)]
    assert len({samples.sha256, *known}) == 3
