"""What training reads: every image of the table, or of the folder; the rest is counted."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.confounder.dataset import find_frames, read_frames, read_samples
from medprotect.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three grey pictures of two sizes, and a text."""
    shades = np.random.default_rng(0).integers(0, 256, (16, 12), np.uint8)
    for name, picture in {"a": shades, "b": shades[::-1], "c/d": shades[:8, :8]}.items():
        path = tmp_path / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(picture).save(path)
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    return tmp_path / "images"


def test_a_folder_gives_all_its_images_and_counts_the_rest(folder: Path) -> None:
    frames, others = find_frames(folder, 64)
    assert others == 1
    assert frames.files.tolist() == [0, 1, 2]
    assert frames.presented.shape == (3, 1, 16, 16)
    assert frames.modalities == {""}


def test_what_an_image_leaves_free_has_no_budget(folder: Path) -> None:
    frames, _ = find_frames(folder, 64)
    assert not frames.budget[2, 0, 8:].any()
    assert frames.budget[2, 0, :8, :8].any()


def test_the_budget_is_that_of_the_strength_trained_for(folder: Path) -> None:
    low, high = (find_frames(folder, 64, each)[0].budget for each in ("low", "high"))
    usual, named = find_frames(folder, 64)[0].budget, find_frames(folder, 64, "standard")[0].budget
    assert usual.equal(named)
    assert low.max() < usual.max() < high.max()
    assert high.max() <= 16 / 255 + 1e-6


def test_links_are_not_followed(folder: Path) -> None:
    (folder / "e.png").symlink_to(folder / "a.png")
    frames, others = find_frames(folder, 64)
    assert (len(frames.presented), others) == (3, 2)


def test_frames_keep_the_order_of_the_table(folder: Path) -> None:
    there = read_frames(folder, ["a.png", "b.png"], 64)
    back = read_frames(folder, ["b.png", "a.png"], 64)
    assert there.presented.equal(back.presented.flip(0))


def test_labels_go_with_their_images(folder: Path) -> None:
    table = folder.parent / "labels.csv"
    table.write_text("file,label\nb.png,high\nc/d.png,low\na.png,high\n")
    samples, modalities = read_samples(folder, table, 64)
    assert samples.classes == ("high", "low")
    assert samples.labels.tolist() == [0, 1, 0]
    assert modalities == {""}


@pytest.mark.parametrize("file", ["absent.png", "notes.txt", "../images/a.png", "/etc/passwd"])
def test_a_line_that_names_no_image_is_told_by_its_number(folder: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="line 3 ") as told:
        read_frames(folder, ["a.png", file], 64)
    assert file not in str(told.value)


def test_grey_and_colour_are_not_mixed(folder: Path) -> None:
    Picture.new("RGB", (9, 9), "red").save(folder / "f.png")
    with pytest.raises(ConfigError, match="colour"):
        find_frames(folder, 64)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no image"):
        find_frames(tmp_path, 64)
