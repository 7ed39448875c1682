"""What training reads: every image of the table, or of the folder; the rest is counted."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.confounder.labels import LabelledFile, read_table
from medprotect.errors import ConfigError
from medprotect.training.dataset import find_frames, read_frames, read_samples


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


def lines(*files: str) -> list[LabelledFile]:
    return [LabelledFile(file, "any", f"line {at}") for at, file in enumerate(files, start=2)]


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
    there = read_frames(folder, lines("a.png", "b.png"), 64)
    back = read_frames(folder, lines("b.png", "a.png"), 64)
    assert there.presented.equal(back.presented.flip(0))


def test_labels_go_with_their_images(folder: Path) -> None:
    table = folder.parent / "labels.csv"
    table.write_text("file,label\nb.png,high\nc/d.png,low\na.png,high\n")
    samples, modalities = read_samples(folder, read_table(table), 64)
    assert samples.classes == ("high", "low")
    assert samples.labels.tolist() == [0, 1, 0]
    assert modalities == {""}
    assert samples.groups is None


def test_groups_go_with_all_frames_of_their_files(folder: Path) -> None:
    stack = [Picture.open(folder / name) for name in ("a.png", "b.png")]
    stack[0].save(folder / "stack.tif", save_all=True, append_images=stack[1:])
    table = folder.parent / "labels.csv"
    table.write_text("file,label,group\nb.png,high,y\nstack.tif,low,x\na.png,high,y\n")
    samples, _ = read_samples(folder, read_table(table), 64)
    assert samples.groups is not None
    assert samples.groups.tolist() == [1, 0, 0, 1]
    assert samples.labels.tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("file", ["absent.png", "notes.txt", "c/"])
def test_a_line_that_names_no_image_is_told_by_its_number(folder: Path, file: str) -> None:
    with pytest.raises(ConfigError, match="line 3 ") as told:
        read_frames(folder, lines("a.png", file), 64)
    assert file not in str(told.value)


def test_grey_and_colour_are_not_mixed_unless_asked_for(folder: Path) -> None:
    Picture.new("RGB", (9, 9), "red").save(folder / "f.png")
    with pytest.raises(ConfigError, match=r"colour .* --grey"):
        find_frames(folder, 64)
    frames, _ = find_frames(folder, 64, grey=True)
    assert frames.presented.shape == (4, 1, 16, 16)
    assert frames.presented[3, 0, 0, 0] == 76 / 255


def test_a_grey_picture_stored_in_colour_is_read_as_the_grey_one(folder: Path) -> None:
    with Picture.open(folder / "a.png") as picture:
        picture.convert("RGB").save(folder / "f.png")
    frames = read_frames(folder, lines("a.png", "f.png"), 64, grey=True)
    assert frames.presented[0].equal(frames.presented[1])
    assert frames.budget[0].equal(frames.budget[1])


def test_pictures_that_are_all_grey_are_read_as_grey_however_they_are_stored(folder: Path) -> None:
    grey, _ = find_frames(folder, 64)
    with Picture.open(folder / "b.png") as picture:
        in_colour = picture.convert("RGB")
    in_colour.save(folder / "b.png")
    found, _ = find_frames(folder, 64)
    assert found.presented.equal(grey.presented)
    in_colour.putpixel((3, 3), (7, 7, 8))
    in_colour.save(folder / "b.png")
    with pytest.raises(ConfigError, match="mixed"):
        find_frames(folder, 64)


def test_a_grey_picture_among_colour_ones_is_read_as_it_is_stored(folder: Path) -> None:
    for name, shade in (("e.png", "grey"), ("f.png", "red")):
        Picture.new("RGB", (9, 9), shade).save(folder / name)
    assert read_frames(folder, lines("e.png", "f.png"), 64).presented.shape == (2, 3, 9, 9)
    assert read_frames(folder, lines("e.png"), 64).presented.shape == (1, 1, 9, 9)


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no image"):
        find_frames(tmp_path, 64)
