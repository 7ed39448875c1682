"""What an attacker does at each step of training."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from medprotect.audit.attack.countermeasure import Countermeasure, to_tensor
from medprotect.audit.attack.in_training import (
    AdversarialTraining,
    CutMix,
    Cutout,
    Mixup,
    UEraser,
    Warps,
    augment,
    brighten,
    change_contrast,
    draw_plasma,
    place_boxes,
    recode_randomly,
    shuffle_channels,
    warp,
)

from .scenes import CLASSES, Watched, recoded, scenes, speckle

COUNT = 12
LABELS = torch.arange(COUNT) % CLASSES


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture(channels: int = 3) -> Tensor:
    return to_tensor(speckle(scenes(COUNT, channels)))


def numbered() -> Tensor:
    """Images that are flat, each of its own value, and none of value 0."""
    values = torch.linspace(0.1, 0.4, COUNT)
    return values[:, None, None, None].expand(-1, 1, 16, 16).contiguous()


def shown(countermeasure: Countermeasure, images: Tensor, seed: int = 0) -> Tensor:
    """Return what the victim learned from."""
    network = Watched(images.shape[1])
    countermeasure.loss(network, images, LABELS, rng(seed))
    return network.shown[-1]


class TestCutout:
    def test_a_square_of_half_the_side_is_blotted_out(self) -> None:
        images = numbered()
        blotted = torch.cat([shown(Cutout(), images, seed) == 0 for seed in range(5)])[:, 0]
        rows, columns = blotted.any(2).sum(1), blotted.any(1).sum(1)
        assert torch.equal(blotted.sum((1, 2)), rows * columns)
        assert int(rows.max()) == int(columns.max()) == 8
        assert int(rows.min()) >= 4  # at the edge, half of it is outside

    def test_the_rest_stays(self) -> None:
        images = numbered()
        seen = shown(Cutout(), images)
        assert torch.equal(seen[seen != 0], images[seen != 0])

    def test_each_image_has_its_own_place(self) -> None:
        blotted = shown(Cutout(), numbered()) == 0
        assert len(torch.unique(blotted, dim=0)) > COUNT / 2


class TestMixup:
    def test_images_are_blends_of_two_in_the_same_share(self) -> None:
        images = numbered()
        order = torch.Generator().manual_seed(4)
        share = float(torch.rand((), generator=order))
        others = torch.randperm(COUNT, generator=order)
        assert torch.allclose(
            shown(Mixup(), images, 4), share * images + (1 - share) * images[others]
        )
        assert 0.02 < share < 0.98

    def test_labels_count_by_the_share(self) -> None:
        images = picture()
        network = Watched(3)
        loss = Mixup().loss(network, images, LABELS, rng(4))
        order = rng(4)
        share = float(torch.rand((), generator=order))
        others = torch.randperm(COUNT, generator=order)
        target = share * functional.one_hot(LABELS, CLASSES)
        target = target + (1 - share) * functional.one_hot(LABELS[others], CLASSES)
        expected = functional.cross_entropy(network(network.shown[0]), target)
        assert torch.allclose(loss, expected)


class TestCutMix:
    @pytest.mark.parametrize("seed", range(4))
    def test_a_rectangle_is_of_another_image_and_counts_by_its_area(self, seed: int) -> None:
        images, network = numbered(), Watched(1)
        loss = CutMix().loss(network, images, LABELS, rng(seed))
        seen = network.shown[0]
        patched = (seen != images).any(0)[0]
        area = float(patched.float().mean())
        assert int(patched.sum()) == int(patched.any(1).sum()) * int(patched.any(0).sum())
        row, column = (int(i) for i in patched.nonzero()[0])
        others = (seen[:, :, row, column] - images[:, 0, 0, 0]).abs().argmin(1)
        target = (1 - area) * functional.one_hot(LABELS, CLASSES)
        target = target + area * functional.one_hot(LABELS[others], CLASSES)
        assert torch.allclose(loss, functional.cross_entropy(network(seen), target))

    def test_its_size_differs_from_batch_to_batch(self) -> None:
        images = numbered()
        areas = {float((shown(CutMix(), images, s) != images).float().mean()) for s in range(6)}
        assert len(areas) > 3


@pytest.mark.parametrize(("share", "rows", "columns"), [(0.5, 4, 10), (1.0, 8, 20)])
def test_a_box_has_its_share_of_each_side(share: float, rows: int, columns: int) -> None:
    boxes = place_boxes(200, (8, 20), share, rng())[:, 0]
    assert int(boxes.any(2).sum(1).max()) == rows
    assert int(boxes.any(1).sum(1).max()) == columns


class TestUEraser:
    def test_the_loss_is_that_of_the_hardest_augmentation_of_each_image(self) -> None:
        images, network = picture(), Watched(3)
        loss = UEraser(tries=4).loss(network, images, LABELS, rng())
        tried = network.shown[:4]
        losses = [functional.cross_entropy(network(t), LABELS, reduction="none") for t in tried]
        stacked = torch.stack(losses)
        assert torch.allclose(loss, stacked.amax(0).mean())
        assert len(set(stacked.argmax(0).tolist())) > 1

    def test_it_tries_five_unless_told_otherwise(self) -> None:
        network = Watched(1)
        UEraser().loss(network, picture(1), LABELS, rng())
        assert len(network.shown) == 5 + 1

    def test_jpeg_is_always_among_the_augmentations(self) -> None:
        stored = speckle(scenes(24, 3))
        images = to_tensor(stored) + 0.5
        augmented = (255 * augment(images, rng())).round().permute(0, 2, 3, 1).numpy()
        plain = 0
        for image, seen in zip(stored, augmented, strict=True):
            assert not np.array_equal(image, seen)
            plain += any(np.array_equal(seen, recoded(image, q)) for q in range(10, 100))
        assert 1 <= plain <= 10  # one in seven has nothing but JPEG

    def test_jpeg_is_of_any_strength(self) -> None:
        stored = np.repeat(speckle(scenes(1, 1)), 40, 0)
        images = to_tensor(stored) + 0.5
        errors = (recode_randomly(images, rng()) - images).square().mean((1, 2, 3)).sqrt()
        assert float(errors.min()) < 2 / 255
        assert float(errors.max()) > 5 / 255

    def test_channels_are_shuffled_in_half_of_the_images(self) -> None:
        images = torch.tensor([0.1, 0.2, 0.3])[:, None, None].expand(300, 3, 4, 4)
        shuffled = shuffle_channels(images, rng())
        assert torch.equal(shuffled.sort(1).values, images)
        changed = (shuffled != images).flatten(1).any(1).float().mean()
        assert 0.3 < float(changed) < 0.55  # one order of six is the same

    @pytest.mark.parametrize("change", [brighten, change_contrast])
    def test_clouds_change_half_of_the_images(self, change: object) -> None:
        assert callable(change)
        images = picture().repeat(20, 1, 1, 1) + 0.5
        changed = (change(images, rng()) != images).flatten(1).any(1).float().mean()
        assert 0.35 < float(changed) < 0.65


class TestWarps:
    def test_without_reach_nothing_moves(self) -> None:
        assert torch.allclose(warp(picture(), 0.0, rng()), picture(), atol=1e-6)

    def test_pixels_come_from_within_reach_along_both_axes(self) -> None:
        ramp = torch.arange(20.0)[None, :].expand(20, 20) / 40 - 0.25
        for images in (ramp, ramp.T):
            moved = 40 * (warp(images[None, None], 2.0, rng()) - images).abs()
            assert 1.8 < float(moved.max()) <= 2.001
            assert 0.8 < float(moved[..., 2:-2, 2:-2].mean()) < 1.2

    def test_all_channels_move_alike(self) -> None:
        images = picture(1).expand(-1, 3, -1, -1)
        warped = warp(images, 2.0, rng())
        assert torch.allclose(warped[:, 0], warped[:, 2])
        assert not torch.allclose(warped, images)

    def test_each_image_is_warped_in_its_own_way(self) -> None:
        warped = warp(picture()[:1].expand(COUNT, -1, -1, -1), 2.0, rng())
        assert len(torch.unique(warped, dim=0)) == COUNT

    def test_the_victim_learns_from_the_warped_images(self) -> None:
        assert torch.allclose(shown(Warps(), picture(), 3), warp(picture(), 2.0, rng(3)))


class TestPlasma:
    @pytest.mark.parametrize("size", [(4, 1, 16, 16), (4, 3, 5, 33), (2, 3, 2, 2)])
    def test_each_fractal_reaches_from_nought_to_one(self, size: tuple[int, int, int, int]) -> None:
        plasma = draw_plasma(size, (0.3, 0.7), rng())
        assert plasma.shape == size
        assert torch.equal(plasma.amin((2, 3)), torch.zeros(size[:2]))
        assert torch.allclose(plasma.amax((2, 3)), torch.ones(size[:2]))

    def test_rougher_fractals_change_more_from_pixel_to_pixel(self) -> None:
        steps = [
            float(draw_plasma((8, 1, 32, 32), (r, r), rng()).diff(dim=3).abs().mean())
            for r in (0.1, 0.5, 0.9)
        ]
        assert steps[0] < steps[1] < steps[2]


class Normed(nn.Module):
    """A victim with batch normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3)
        self.read = Watched(3)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.read(self.norm(images))
        return logits


class TestAdversarialTraining:
    def test_the_noise_stays_within_its_bound(self) -> None:
        images = picture()
        attacked = AdversarialTraining().attack(Watched(3), images, LABELS, rng())
        largest = float((attacked - images).abs().max())
        assert 7.9 / 255 < largest <= 8 / 255 + 1e-6

    def test_it_raises_the_loss_more_than_random_noise(self) -> None:
        images, network = picture(), Watched(3)
        noise = 8 / 255 * torch.empty_like(images).uniform_(-1, 1, generator=rng()).sign()
        clean, random, worst = (
            float(functional.cross_entropy(network(shown), LABELS).detach())
            for shown in (
                images,
                images + noise,
                AdversarialTraining().attack(network, images, LABELS, rng()),
            )
        )
        assert worst - clean > 3 * abs(random - clean)

    def test_the_victim_learns_from_the_attacked_images_alone(self) -> None:
        images, network = picture(), Watched(3)
        loss = AdversarialTraining().loss(network, images, LABELS, rng())
        attacked = AdversarialTraining().attack(network, images, LABELS, rng())
        assert torch.allclose(loss, functional.cross_entropy(network(attacked), LABELS))

    def test_it_takes_ten_steps_unless_told_otherwise(self) -> None:
        network = Watched(1)
        AdversarialTraining().loss(network, picture(1), LABELS, rng())
        assert len(network.shown) == 10 + 1

    def test_statistics_follow_the_learning_and_not_the_attack(self) -> None:
        network = Normed().train()
        AdversarialTraining().loss(network, picture(), LABELS, rng())
        assert network.norm.num_batches_tracked is not None
        assert int(network.norm.num_batches_tracked) == 1
        assert network.training
        assert network.norm.training

    def test_the_attack_leaves_no_gradients_in_the_victim(self) -> None:
        network = Watched(3)
        AdversarialTraining().attack(network, picture(), LABELS, rng())
        assert network.weight.grad is None
