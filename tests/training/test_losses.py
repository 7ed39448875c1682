"""The terms: each is low where its name says."""

import pytest
import torch

from medprotect.training.losses import (
    confounder_loss,
    decoy_loss,
    discriminator_loss,
    fidelity_loss,
    share_told,
    utility_loss,
)

CODE = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])


def test_the_confounder_term_is_lowest_where_the_whole_posterior_is_read() -> None:
    best = confounder_loss((CODE + 1e-9).log(), CODE)
    hard = confounder_loss(torch.eye(3)[[0, 2]] * 20, CODE)
    wrong = confounder_loss(torch.eye(3)[[1, 0]] * 20, CODE)
    assert best < hard < wrong
    # The entropy of the code is what remains.
    assert float(best) == pytest.approx(float(-(CODE * (CODE + 1e-9).log()).sum(1).mean()), 1e-4)


def test_of_codes_read_in_full_all_is_told_and_of_their_mean_nothing() -> None:
    full = confounder_loss((CODE + 1e-9).log(), CODE)
    mean = confounder_loss(CODE.mean(0).log().expand_as(CODE), CODE)
    assert share_told(full, CODE) == pytest.approx(1, abs=1e-4)
    assert share_told(mean, CODE) == pytest.approx(0, abs=1e-6)
    assert share_told((full + mean) / 2, CODE) == pytest.approx(0.5, abs=1e-4)


def test_a_batch_of_one_code_has_nothing_to_tell_and_is_no_fault() -> None:
    code = CODE[[1, 1]]
    assert share_told(confounder_loss(code, code), code) <= 0


def test_the_decoy_term_is_the_mean_over_classifiers() -> None:
    fooled, not_fooled = torch.eye(3)[[0, 2]] * 9, torch.eye(3)[[2, 0]] * 9
    one, other = decoy_loss([fooled], CODE), decoy_loss([not_fooled], CODE)
    assert one < other
    assert float(decoy_loss([fooled, not_fooled], CODE)) == pytest.approx(float(one + other) / 2)


def test_the_utility_term_is_nothing_where_classifiers_see_what_they_saw() -> None:
    saw, sees_other = torch.eye(3)[[0, 2]] * 4, torch.eye(3)[[1, 2]] * 4
    assert float(utility_loss([saw, saw], [saw + 1, saw])) == pytest.approx(0, abs=1e-6)
    assert utility_loss([sees_other], [saw]) > 1
    half = utility_loss([sees_other, saw], [saw, saw])
    assert float(half) == pytest.approx(float(utility_loss([sees_other], [saw])) / 2)


def test_the_fidelity_term_is_low_for_patches_taken_as_untouched() -> None:
    assert fidelity_loss(torch.full((2, 1, 7, 7), 4.0)) < fidelity_loss(torch.zeros(2, 1, 7, 7))


def test_the_discriminator_wants_untouched_high_and_protected_low() -> None:
    high, low = torch.full((2, 1, 7, 7), 3.0), torch.full((2, 1, 7, 7), -3.0)
    assert discriminator_loss(high, low) < discriminator_loss(low, high)


def test_generator_and_discriminator_pull_against_each_other() -> None:
    scores = torch.zeros(4, 1, 2, 2, requires_grad=True)
    fidelity_loss(scores).backward()
    up = scores.grad
    assert up is not None
    again = torch.zeros(4, 1, 2, 2, requires_grad=True)
    discriminator_loss(torch.zeros(4, 1, 2, 2), again).backward()
    assert again.grad is not None
    assert bool((up * again.grad < 0).all())
