"""Codes without labels: what is alike is found alike, the same from the same seed."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from medprotect.errors import ConfigError
from medprotect.training import checkpoint, clusters
from medprotect.training.clusters import contrastive_loss, find_clusters
from medprotect.training.samples import Samples

Stripes = Callable[..., Samples]


def find(presented: Tensor, count: int = 4, *, seed: int = 1, steps: int = 3) -> Tensor:
    return find_clusters(
        presented, count, seed=seed, mirrored=False, steps=steps, progress=lambda *_: None
    )


class TestContrast:
    def test_views_that_agree_cost_less_than_views_that_are_mixed_up(self) -> None:
        views = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
        right = contrastive_loss(torch.cat([views, views]))
        wrong = contrastive_loss(torch.cat([views, views.roll(1, 0)]))
        assert right < wrong

    def test_the_length_of_features_does_not_count(self) -> None:
        views = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(contrastive_loss(views), contrastive_loss(7 * views))

    def test_where_all_are_alike_nothing_is_told(self) -> None:
        same = torch.ones(10, 3)
        torch.testing.assert_close(contrastive_loss(same), torch.tensor(9.0).log())


class TestClusters:
    def test_they_go_along_with_labels_that_they_never_saw(self, stripes: Stripes) -> None:
        samples = stripes(count=160)
        found = find(samples.presented, 8, steps=80)
        right = sum(
            max(Counter(samples.labels[found == each].tolist()).values()) for each in range(8)
        )
        assert right / len(samples) > 0.7  # a quarter by chance

    def test_none_is_empty_and_the_largest_comes_first(self, stripes: Stripes) -> None:
        sizes = find(stripes().presented).bincount(minlength=4).tolist()
        assert min(sizes) > 0
        assert sizes == sorted(sizes, reverse=True)

    def test_they_repeat_from_their_seed_and_leave_the_callers_randomness(
        self, stripes: Stripes
    ) -> None:
        torch.manual_seed(7)
        expected = torch.rand(3)
        torch.manual_seed(7)
        first = find(stripes().presented)
        assert torch.equal(torch.rand(3), expected)
        assert torch.equal(first, find(stripes().presented))

    def test_a_search_that_broke_off_goes_on(
        self, stripes: Stripes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checkpoint, "SECONDS", 0.0)
        presented = stripes().presented
        steps: list[int] = []

        def pull(_stage: str, step: int, _steps: int, _figures: dict[str, float]) -> None:
            steps.append(step)
            raise InterruptedError

        def search(progress: clusters.Progress) -> Tensor:
            return find_clusters(
                presented, 4, seed=1, mirrored=False, steps=5, folder=tmp_path, progress=progress
            )

        with pytest.raises(InterruptedError):
            search(pull)
        resumed = search(lambda _stage, step, *_: steps.append(step))
        assert steps == [1, 2, 3, 4, 5]
        assert torch.equal(resumed, find(presented, steps=5))

    @pytest.mark.parametrize("count", [1, 25])
    def test_there_must_be_two_images_a_cluster(self, stripes: Stripes, count: int) -> None:
        with pytest.raises(ConfigError, match="too few"):
            find(stripes(count=48).presented, count)

    def test_images_that_are_all_the_same_have_none(self) -> None:
        with pytest.raises(ConfigError, match="differ"):
            find(torch.full((12, 1, 8, 8), 0.5))
