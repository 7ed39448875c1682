import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.intensity.array import ScaleIntensity
from monai.transforms.utility.dictionary import CopyItemsd, Lambdad
from pydicom import dcmread

from medprotect.confounder.key import Key
from medprotect.errors import ConfigError, CorruptImageError, OutputError
from medprotect.protect.transforms import (
    NOTES,
    SAVED,
    LoadProtectable,
    LoadProtectabled,
    Protect,
    Protectd,
    SaveProtected,
    SaveProtectedd,
    check_of,
    from_tensor,
)

KEY = Key(bytes(range(32)))


@pytest.fixture(scope="module")
def protect() -> Protect:
    return Protect("radiology-grey", KEY)


@pytest.fixture
def ct(pydicom_file: Callable[[str], Path]) -> Path:
    return pydicom_file("CT_small.dcm")


class TestLoad:
    def test_it_gives_stored_values_channel_first(self, ct: Path) -> None:
        image = LoadProtectable()(ct)
        assert isinstance(image, MetaTensor)
        assert image.shape == (1, 128, 128)
        assert image.dtype == torch.int16
        assert np.array_equal(image[0].numpy(), dcmread(ct).pixel_array)
        assert image.meta["filename_or_obj"] == os.fspath(ct)

    def test_it_gives_frames_last(self, pydicom_file: Callable[[str], Path]) -> None:
        path = pydicom_file("SC_rgb_rle_2frame.dcm")
        image = LoadProtectable()(path.read_bytes())
        assert image.shape == (3, 100, 100, 2)
        assert np.array_equal(from_tensor(image), dcmread(path).pixel_array)

    def test_it_keeps_the_types_of_nifti(self) -> None:
        import nibabel

        folder = Path(nibabel.__file__).parent / "tests" / "data"
        image = LoadProtectable()(folder / "example4d.nii.gz")
        assert image.dtype == torch.int16
        assert image.shape == (1, 96, 128, 48)

    def test_other_transforms_can_look_at_it(self, ct: Path) -> None:
        shown = ScaleIntensity()(LoadProtectable()(ct))
        assert float(shown.max()) == 1


class TestProtect:
    def test_only_stored_values_within_the_budget_change(self, ct: Path, protect: Protect) -> None:
        image = LoadProtectable()(ct)
        changed = protect(image)
        assert changed.dtype == image.dtype
        assert changed.shape == image.shape
        assert not torch.equal(changed.as_tensor(), image.as_tensor())

    def test_the_same_key_and_image_give_the_same_noise(self, ct: Path, protect: Protect) -> None:
        first, again = (protect(LoadProtectable()(ct)).as_tensor() for _ in range(2))
        assert torch.equal(first, again)
        other = Protect("radiology-grey", Key(bytes(32)))(LoadProtectable()(ct))
        assert not torch.equal(first, other.as_tensor())

    def test_an_image_from_elsewhere_is_refused(self, protect: Protect) -> None:
        with pytest.raises(ConfigError, match="not read by LoadProtectable"):
            protect(MetaTensor(torch.zeros(1, 8, 8)))

    def test_an_image_changed_on_the_way_is_refused(self, ct: Path, protect: Protect) -> None:
        image = LoadProtectable()(ct)
        with pytest.raises(ConfigError, match="protect it first"):
            protect(image + 1)

    def test_labels_are_names_of_classes(self, ct: Path, protect: Protect) -> None:
        image = LoadProtectable()(ct)
        assert not torch.equal(
            protect(image, "HeadCT").as_tensor(), protect(image, "Hand").as_tensor()
        )
        with pytest.raises(ConfigError, match=r"no class.*AbdomenCT"):
            protect(image, "Foot")

    @pytest.mark.parametrize(
        "label", [0, torch.tensor(0), np.int64(0), np.array([0]), np.array("AbdomenCT")], ids=repr
    )
    def test_the_first_class_is_one_like_any_other(self, label: object, protect: Protect) -> None:
        assert protect.class_number(label) == protect.class_number("AbdomenCT") == 0

    @pytest.mark.parametrize("label", [None, "", np.str_("")], ids=repr)
    def test_a_label_may_be_unknown(self, label: object, protect: Protect) -> None:
        assert protect.class_number(label) is None

    @pytest.mark.parametrize(
        "label",
        [-1, 6, True, 1.0, torch.tensor(1.0), torch.zeros(1, 4, 4), np.zeros(3, int), ["Hand"]],
        ids=lambda label: f"{type(label).__name__} {getattr(label, 'shape', label)}",
    )
    def test_what_is_no_class_is_told_from_one(self, label: object, protect: Protect) -> None:
        with pytest.raises(ConfigError, match=r"number from 0 to 5, or a name: AbdomenCT, .*masks"):
            protect.class_number(label)

    def test_a_pipeline_trained_without_labels_takes_none(
        self, protect: Protect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        card = protect.confounder.card
        found = replace(card, codes=replace(card.codes, source="clusters"))
        monkeypatch.setattr(protect.confounder, "card", found)
        assert protect.class_number(None) is None
        with pytest.raises(ConfigError, match="trained without labels"):
            protect.class_number(0)

    def test_a_strength_that_is_none_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="low, standard, high"):
            Protect("radiology-grey", KEY, strength="extreme")


class TestUids:
    @staticmethod
    def uids(protect: Protect, ct: Path, label: str | None, out: Path) -> tuple[str, str, bytes]:
        image = SaveProtected()(protect(LoadProtectable()(ct), label), out)
        dataset = dcmread(image.meta[SAVED])
        out.unlink()
        return dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.PixelData

    def test_other_pixels_have_other_uids_with_labels_and_without(
        self, ct: Path, tmp_path: Path
    ) -> None:
        asked: list[tuple[tuple[str, ...], str | None]] = [
            *(((), None), (("a", "b"), "a"), (("a", "b"), "b"), (("a", "b", "c"), "a")),
        ]
        made = [
            self.uids(Protect("labels-ct", KEY, classes=classes), ct, label, tmp_path / "a.dcm")
            for classes, label in asked
        ]
        assert len({pixels for _, _, pixels in made}) == len(asked)
        assert len({instance for instance, _, _ in made}) == len(asked)
        assert made[1][1] == made[2][1] != made[0][1]  # labels do not take a series apart

    def test_a_class_of_the_pipeline_makes_other_uids_of_instances(
        self, ct: Path, tmp_path: Path, protect: Protect
    ) -> None:
        made = [
            self.uids(protect, ct, label, tmp_path / "a.dcm") for label in (None, "Hand", "HeadCT")
        ]
        assert len({instance for instance, _, _ in made}) == 3
        assert len({series for _, series, _ in made}) == 1

    def test_a_table_is_what_they_depend_on_where_there_is_one(
        self, ct: Path, tmp_path: Path
    ) -> None:
        made = [
            self.uids(
                Protect("labels-ct", KEY, classes=("a", "b"), labels_sha256=table),
                *(ct, label, tmp_path / "a.dcm"),
            )[0]
            for table, label in (("ab", "a"), ("ab", "b"), ("cd", "a"))
        ]
        assert made[0] == made[1] != made[2]


class TestSave:
    @pytest.mark.parametrize("flush_names", [True, False])
    def test_bytes_are_flushed_and_the_name_unless_that_is_not_wanted(
        self,
        flush_names: bool,
        ct: Path,
        protect: Protect,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        folder, flushed, flush = tmp_path / "new", [], os.fsync

        def count(descriptor: int) -> None:
            flushed.append(Path(f"/proc/self/fd/{descriptor}").readlink())
            flush(descriptor)

        image = protect(LoadProtectable()(ct))
        monkeypatch.setattr(os, "fsync", count)
        SaveProtected(folder, flush_names=flush_names)(image)
        within = [path for path in flushed if path != tmp_path]
        assert [path == folder for path in within] == [False, True][: 1 + flush_names]

    def test_the_file_is_checked_and_named_as_its_source(
        self, ct: Path, protect: Protect, tmp_path: Path
    ) -> None:
        saved = SaveProtected(tmp_path / "new")(protect(LoadProtectable()(ct)))
        assert saved.meta[SAVED] == os.fspath(tmp_path / "new" / "CT_small.dcm")
        assert check_of(saved).share <= 1
        assert [path.name for path in (tmp_path / "new").iterdir()] == ["CT_small.dcm"]
        assert np.array_equal(dcmread(saved.meta[SAVED]).pixel_array, saved[0].numpy())

    def test_a_lossy_image_is_promoted_and_renamed(self, protect: Protect, tmp_path: Path) -> None:
        from PIL import Image as Picture

        source = tmp_path / "photo.jpg"
        shade = np.random.default_rng(0).integers(0, 255, (32, 32), dtype=np.uint8)
        Picture.fromarray(shade).save(source)
        saved = SaveProtected(tmp_path / "new")(protect(LoadProtectable()(source)))
        assert Path(saved.meta[SAVED]).name == "photo.jpg.png"
        assert "promoted_to_lossless" in saved.meta[NOTES]

    def test_a_file_is_never_overwritten(self, ct: Path, protect: Protect, tmp_path: Path) -> None:
        (tmp_path / "CT_small.dcm").write_bytes(b"mine")
        with pytest.raises(OutputError):
            SaveProtected(tmp_path)(protect(LoadProtectable()(ct)))
        assert (tmp_path / "CT_small.dcm").read_bytes() == b"mine"
        assert [path.name for path in tmp_path.iterdir()] == ["CT_small.dcm"]

    def test_an_unprotected_image_is_refused(self, ct: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not protected"):
            SaveProtected(tmp_path)(LoadProtectable()(ct))

    def test_an_image_without_a_path_needs_one(self, ct: Path, protect: Protect) -> None:
        with pytest.raises(ConfigError, match="no path"):
            SaveProtected()(protect(LoadProtectable()(ct.read_bytes())))


class TestDictionaries:
    def test_they_work_in_a_compose_beside_other_transforms(self, ct: Path, tmp_path: Path) -> None:
        steps = Compose(
            [
                LoadProtectabled("image"),
                CopyItemsd("image", names="clean"),
                Protectd("image", "radiology-grey", KEY),
                SaveProtectedd("image", folder=tmp_path),
                Lambdad("clean", lambda image: image.float()),
            ]
        )
        item = steps({"image": ct, "label": None, "name": "kept"})
        assert item["name"] == "kept"
        change = (item["image"].float() - item["clean"]).abs()
        assert 0 < float(change.max()) < 60
        assert (tmp_path / "CT_small.dcm").is_file()

    @pytest.mark.parametrize(
        "label", [1, 0, "Hand", torch.zeros(1, 128, 128)], ids=lambda x: type(x).__name__
    )
    def test_labels_are_left_alone_unless_their_key_is_named(
        self, label: object, ct: Path, protect: Protect
    ) -> None:
        item = {"image": LoadProtectable()(ct), "label": label}
        changed = Protectd("image", "radiology-grey", KEY)(item)
        assert changed["label"] is label
        assert torch.equal(changed["image"].as_tensor(), protect(item["image"]).as_tensor())

    def test_label_zero_is_used_where_its_key_is_named(self, ct: Path, protect: Protect) -> None:
        image = LoadProtectable()(ct)
        steps = Protectd("image", "radiology-grey", KEY, label_key="label")
        changed = steps({"image": image, "label": torch.tensor(0)})["image"]
        assert torch.equal(changed.as_tensor(), protect(image, "AbdomenCT").as_tensor())
        assert not torch.equal(changed.as_tensor(), protect(image, "HeadCT").as_tensor())

    def test_an_item_without_the_named_key_is_refused_unless_keys_may_be_missing(
        self, ct: Path
    ) -> None:
        item = {"image": LoadProtectable()(ct), "label": 1}
        with pytest.raises(ConfigError, match="lacks label_key"):
            Protectd("image", "radiology-grey", KEY, label_key="labels")(item)
        lenient = Protectd(
            "image", "radiology-grey", KEY, label_key="labels", allow_missing_keys=True
        )
        assert lenient(item)["image"].shape == (1, 128, 128)

    def test_paths_and_labels_come_from_the_items(self, ct: Path, tmp_path: Path) -> None:
        steps = Compose(
            [
                LoadProtectabled("image"),
                Protectd("image", "radiology-grey", KEY, label_key="class"),
                SaveProtectedd("image", path_key="to"),
            ]
        )
        steps({"image": ct.read_bytes(), "class": "Hand", "to": tmp_path / "x.dcm"})
        assert (tmp_path / "x.dcm").is_file()


class TestPairs:
    """An image in two files: the path of its header stands for both."""

    @pytest.fixture
    def header(self, tmp_path: Path) -> Path:
        shade = np.random.default_rng(0).integers(0, 900, (3, 24, 20)).astype(np.int16)
        path = tmp_path / "a.mhd"
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(shade), path, True)
        return path

    def test_both_go_to_the_folder_under_their_names(
        self, header: Path, protect: Protect, tmp_path: Path
    ) -> None:
        image = protect(LoadProtectable()(header))
        assert image.shape == (1, 24, 20, 3)
        saved = SaveProtected(tmp_path / "out")(image)
        assert saved.meta[SAVED] == os.fspath(tmp_path / "out" / "a.mhd")
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.mhd", "a.zraw"}
        read = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(tmp_path / "out" / "a.mhd"))
        np.testing.assert_array_equal(read, from_tensor(image))
        assert check_of(saved).images == 3

    def test_one_path_is_not_enough(self, header: Path, protect: Protect, tmp_path: Path) -> None:
        image = protect(LoadProtectable()(header))
        with pytest.raises(ConfigError, match="two paths"):
            SaveProtected()(image, tmp_path / "b.mhd")
        assert not (tmp_path / "b.mhd").exists()

    def test_a_name_that_is_taken_leaves_nothing_behind(
        self, header: Path, protect: Protect, tmp_path: Path
    ) -> None:
        image = protect(LoadProtectable()(header))
        taken = tmp_path / "taken.zraw"
        taken.write_bytes(b"mine")
        with pytest.raises(OutputError):
            SaveProtected()(image, tmp_path / "b.mhd", taken)
        assert taken.read_bytes() == b"mine"
        assert {path.name for path in tmp_path.iterdir()} == {"a.mhd", "a.zraw", "taken.zraw"}

    def test_a_header_without_its_voxels_says_so(self, header: Path) -> None:
        header.with_name("a.zraw").unlink()
        with pytest.raises(CorruptImageError, match="not beside it"):
            LoadProtectable()(header)
