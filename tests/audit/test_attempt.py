"""An attacker's attempt: repeatable, and as strong as what it is given allows."""

import numpy as np
import pytest
import torch

from medprotect.audit.attempt import Attempt, Task, attempt
from medprotect.audit.countermeasures.countermeasure import Countermeasure, Images
from medprotect.audit.halves import Labelled
from medprotect.audit.probe import features_of, probe
from medprotect.audit.relabelling import balanced_accuracy
from medprotect.audit.victims import vgg

from .stripes import covered, pairs, stripes

PAIRS = pairs()
TASK = Task(PAIRS.validation, PAIRS.test, 4)


def attack(train: Labelled, countermeasure: Countermeasure | None = None, seed: int = 1) -> Attempt:
    return attempt(
        vgg, countermeasure or Countermeasure(), train, TASK, seed=seed, steps=100, batch=32
    )


def score(predicted: np.ndarray) -> float:
    return balanced_accuracy(predicted, PAIRS.test.labels, 4)


def test_clean_images_teach_their_classes() -> None:
    run = attack(PAIRS.clean)
    assert score(run.as_is) > 0.8
    assert run.curve.steps[-1] == 100
    assert len(run.curve.train) == len(run.curve.validation) == len(run.curve.steps) == 10


def test_images_without_anatomy_teach_nothing_of_it() -> None:
    shaded = covered(PAIRS.clean.images, PAIRS.clean.labels)
    run = attack(Labelled(shaded, PAIRS.clean.labels))
    assert run.curve.train[-1] > 0.9
    assert score(run.as_is) < 0.5
    assert max(run.curve.validation) < 0.5  # at no moment; renamed, stripes fit untrained features


def test_permuted_classes_are_renamed_by_an_attacker_with_clean_images() -> None:
    turned = Labelled(PAIRS.clean.images, (PAIRS.clean.labels + 1) % 4)
    run = attack(turned)
    assert score(run.as_is) < 0.2
    assert score(run.renamed) > 0.8
    assert score(run.best) > 0.8


def test_an_attempt_repeats_from_its_seed() -> None:
    one, same, other = attack(PAIRS.clean), attack(PAIRS.clean), attack(PAIRS.clean, seed=2)
    assert one.curve == same.curve != other.curve
    assert np.array_equal(one.as_is, same.as_is)


class Blinding(Countermeasure):
    """Shows the victim nothing, in training alone."""

    def treat(self, images: Images) -> Images:
        return np.zeros_like(images)

    def treat_tested(self, images: Images) -> Images:
        return images


def test_a_countermeasure_treats_what_is_trained_on() -> None:
    assert score(attack(PAIRS.clean, Blinding()).best) < 0.6 < score(attack(PAIRS.clean).best)


def test_the_probe_gains_from_features_that_learned_anatomy() -> None:
    found = probe(attack(PAIRS.clean).network, vgg, PAIRS, seed=1)
    assert found["gain"] is not None
    assert found["gain"] == pytest.approx(
        (found["protected_features"] or 0) - (found["untrained_features"] or 0), abs=1e-5
    )
    assert (found["protected_features"] or 0) > 0.8


def test_features_are_what_enters_the_last_layer() -> None:
    network = vgg(1, 4).eval()
    images = stripes(6).images
    features = features_of(network, images)
    last = network[-1]
    assert isinstance(last, torch.nn.Linear)
    assert features.shape == (6, last.in_features)
