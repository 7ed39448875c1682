import tempfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from PIL import Image as Picture

from medprotect.errors import ConfigError
from medprotect.plan.estimate import estimate_bytes, estimate_seconds
from medprotect.plan.pairing import settle
from medprotect.plan.plan import (
    MASK_BY_NAME,
    Action,
    MaskNames,
    Row,
    Rules,
    plan_rows,
    reject_collisions,
)
from medprotect.plan.selection import find_candidates
from medprotect.scan.walk import Found, walk

from ..confounder.measured_pipeline import FIGURES, make_measured, make_pipeline

RULES = Rules(find_candidates(["auto"]))


def picture(kind: str) -> bytes:
    shade = np.random.default_rng(0).integers(0, 255, (16, 16), dtype=np.uint8)
    stream = BytesIO()
    Picture.fromarray(shade).save(stream, kind)
    return stream.getvalue()


def plan(root: Path, rules: Rules = RULES) -> dict[str, Row]:
    rows = list(plan_rows(root, root.parent / "out", walk(root), rules))
    rows = settle(rows, ignores_case=False)
    return {row.found.path: row for row in rows}


def volume(name: str, *, mask: bool) -> dict[str, bytes]:
    """The files of a volume of this name, by name."""
    voxels = np.random.default_rng(5).integers(0, 900, (4, 20, 24)).astype(np.int16)
    if mask:
        voxels = (voxels * 0 + 1).astype(np.int16) * (np.arange(24) > 9)
    with tempfile.TemporaryDirectory() as folder:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(voxels), Path(folder) / name)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def colour() -> bytes:
    stream = BytesIO()
    with Picture.open(BytesIO(picture("PNG"))) as grey:
        grey.convert("RGB").save(stream, "PNG")
    return stream.getvalue()


class TestStoredInColour:
    """What a header says is colour may turn out to be grey."""

    @pytest.fixture
    def root(self, export: Callable[..., Path]) -> Path:
        return export({"a.png": colour(), "b.png": picture("PNG")})

    def test_there_are_two_plans_until_the_pixels_are_known(self, root: Path) -> None:
        rows = plan(root)
        assert rows["b.png"].otherwise is None
        row = rows["a.png"]
        assert (row.action, row.pipeline) == (Action.PROTECT, "blood-microscopy")
        assert row.settle(shows_grey=None) == row
        assert row.settle(shows_grey=False) == replace(row, otherwise=None)
        grey = row.settle(shows_grey=True)
        assert (grey.action, grey.pipeline, grey.out) == (Action.PROTECT, "radiology-grey", "a.png")
        assert grey.why == "no modality, grey stored as RGB"
        assert grey.otherwise is None
        assert grey.traits is not None
        assert grey.traits.channels == 3, "what it takes to decode it"

    def test_the_one_that_protects_comes_first(self, root: Path) -> None:
        row = plan(root, Rules(find_candidates(["radiology-grey"])))["a.png"]
        assert (row.action, row.pipeline) == (Action.PROTECT, "radiology-grey")
        assert row.why == "named; no modality, grey stored as RGB, if its pixels are grey"
        settled = row.settle(shows_grey=True)
        assert settled.why == "named; no modality, grey stored as RGB"
        assert settled == replace(row, why=settled.why, otherwise=None)
        rejected = row.settle(shows_grey=False)
        assert (rejected.action, rejected.reason) == (Action.REJECT, "no_pipeline")
        assert "colour images" in rejected.detail
        row = plan(root, Rules(find_candidates(["blood-microscopy"])))["a.png"]
        assert row.pipeline == "blood-microscopy"
        assert "grey images stored in colour" in row.settle(shows_grey=True).detail

    def test_what_no_pipeline_takes_either_way_is_rejected_at_once(self, root: Path) -> None:
        row = plan(root, Rules(find_candidates(["auto"]), at_least=1.0))["a.png"]
        assert (row.action, row.reason) == (Action.REJECT, "protection_too_low")
        assert row.otherwise is None

    def test_a_label_that_one_of_the_pipelines_knows_is_for_that_one(self, root: Path) -> None:
        trained = find_candidates(["radiology-grey", "blood-microscopy"])
        rows = plan(root, Rules(trained, labels={"a.png": "CXR"}))
        assert rows["a.png"].pipeline == "radiology-grey"
        rejected = rows["a.png"].settle(shows_grey=False)
        assert rejected.reason == "no_pipeline"
        assert "blood-microscopy was not trained on" in rejected.detail
        rows = plan(root, Rules(trained, labels={"a.png": "basophil"}))
        assert rows["a.png"].pipeline == "blood-microscopy"
        with pytest.raises(ConfigError, match="not trained on"):
            plan(root, Rules(trained, labels={"a.png": "unheard of"}))


class TestMasks:
    NAMES = ("a.mhd", "b.nhdr", "c.nrrd", "d.mha", "e.nii.gz")

    @pytest.fixture
    def root(self, export: Callable[..., Path]) -> Path:
        files: dict[str, bytes] = {"f.png": picture("PNG")}
        for name in self.NAMES:
            files |= volume(name, mask=False)
            made = volume(f"mask-{name}", mask=True)
            files |= {f"masks/{member}": data for member, data in made.items()}
        return export(files)

    def test_they_are_left_alone_in_every_format_of_volumes(self, root: Path) -> None:
        rows = plan(root)
        assert len(rows) == 1 + 2 * (len(self.NAMES) + 2)
        for path, row in rows.items():
            expected = Action.LEAVE if path.startswith("masks/") else Action.PROTECT
            assert row.action is expected, path

    def test_what_is_named_an_image_is_one_whatever_it_looks_like(self, root: Path) -> None:
        rules = Rules(RULES.candidates, mask_names=MaskNames(images=("masks/*.nrrd", "*a.mhd")))
        rows = plan(root, rules)
        protected = {path for path, row in rows.items() if row.action is Action.PROTECT}
        assert {path for path in protected if path.startswith("masks/")} == {
            "masks/mask-c.nrrd",
            "masks/mask-a.mhd",
            "masks/mask-a.raw",
        }

    def test_what_is_named_a_mask_is_one_and_says_why(self, root: Path) -> None:
        said = MaskNames(masks=("[a-f].*", "masks/*"), images=("c.nrrd",))
        rows = plan(root, Rules(RULES.candidates, mask_names=said))
        protected = {path for path, row in rows.items() if row.action is Action.PROTECT}
        assert protected == {"c.nrrd"}
        assert rows["f.png"].action is Action.LEAVE
        assert rows["f.png"].warnings == (MASK_BY_NAME,)
        assert rows["masks/mask-d.mha"].warnings == ()

    def test_what_cannot_be_read_is_rejected_whatever_its_name(
        self, export: Callable[..., Path]
    ) -> None:
        root = export({"d.mha": volume("d.mha", mask=False)["d.mha"][:-1]})
        rows = plan(root, Rules(RULES.candidates, mask_names=MaskNames(masks=("*",))))
        assert rows["d.mha"].reason == "corrupt"


class TestRows:
    def test_every_entry_gets_its_action(
        self, export: Callable[..., Path], pydicom_file: Callable[[str], Path]
    ) -> None:
        root = export(
            {
                "ct": pydicom_file("CT_small.dcm"),
                "plan": pydicom_file("rtplan.dcm"),
                "cut.dcm": pydicom_file("MR_truncated.dcm"),
                "notes.txt": b"label\n",
                "a.zip": b"PK\x03\x04" + bytes(60),
                "photo.jpg": picture("JPEG"),
            }
        )
        rows = plan(root)
        assert {path: row.action.value for path, row in rows.items()} == {
            "ct": "protect",
            "plan": "leave",
            "cut.dcm": "reject",
            "notes.txt": "leave",
            "a.zip": "reject",
            "photo.jpg": "protect",
        }
        assert rows["photo.jpg"].out == "photo.jpg.png"
        assert rows["ct"].out == "ct"
        assert rows["ct"].pipeline == "ct"
        assert rows["photo.jpg"].pipeline == "radiology-grey"
        assert rows["cut.dcm"].reason == "corrupt"

    def test_a_file_cut_short_still_counts_to_its_series(
        self, export: Callable[..., Path], pydicom_file: Callable[[str], Path]
    ) -> None:
        root = export({"1": pydicom_file("MR_small.dcm"), "2": pydicom_file("MR_truncated.dcm")})
        rows = plan(root)
        assert rows["1"].series
        assert rows["2"].action is Action.REJECT
        assert rows["2"].series == rows["1"].series

    def test_others_are_taken_along_where_that_is_asked_for(
        self, export: Callable[..., Path], pydicom_file: Callable[[str], Path]
    ) -> None:
        root = export({"plan": pydicom_file("rtplan.dcm"), "x.bin": bytes(range(256))})
        rows = plan(root, Rules(RULES.candidates, copy_others=True))
        assert rows["plan"].action is Action.COPY
        assert rows["plan"].out == "plan"
        assert rows["x.bin"].action is Action.REJECT

    def test_reasons_and_kinds_name_nothing_of_the_file(
        self, export: Callable[..., Path], pydicom_file: Callable[[str], Path]
    ) -> None:
        root = export({"Doe^Jane/scan.dcm": pydicom_file("MR_truncated.dcm")})
        (row,) = plan(root).values()
        assert "Doe" not in repr((row.kind, row.detail, row.why, row.series, row.pipeline))


def colour_that_varies() -> bytes:
    shade = np.random.default_rng(1).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    stream = BytesIO()
    Picture.fromarray(shade).save(stream, "PNG")
    return stream.getvalue()


class TestLabels:
    def test_a_known_class_is_in_the_row(self, export: Callable[..., Path]) -> None:
        root = export({"a.png": picture("PNG")})
        rules = Rules(RULES.candidates, labels={"a.png": "CXR"})
        assert plan(root, rules)["a.png"].label == "CXR"

    def test_any_class_goes_to_a_pipeline_that_says_any(self, export: Callable[..., Path]) -> None:
        root = export({"a.png": picture("PNG"), "b.png": picture("PNG")})
        rows = plan(root, Rules(RULES.candidates, labels={"a.png": "unheard of"}))
        assert (rows["a.png"].pipeline, rows["a.png"].label) == ("labels-grey", "unheard of")
        assert rows["b.png"].pipeline == "radiology-grey"

    def test_a_label_that_was_not_asked_for_never_makes_protection_less(
        self, export: Callable[..., Path]
    ) -> None:
        root = export({"a.png": colour_that_varies()})
        asked = Rules(RULES.candidates, labels={"a.png": "unheard of"})
        found = replace(asked, labels_asked=False)
        assert plan(root, asked)["a.png"].pipeline == "labels-colour"
        row = plan(root, found)["a.png"]
        assert (row.pipeline, row.label) == ("blood-microscopy", "")
        known = plan(root, replace(found, labels={"a.png": "basophil"}))["a.png"]
        assert (known.pipeline, known.label) == ("blood-microscopy", "basophil")

    def test_a_class_that_the_pipeline_given_does_not_know_ends_the_plan(
        self, export: Callable[..., Path]
    ) -> None:
        root = export({"a.png": picture("PNG")})
        given = Rules(find_candidates(["radiology-grey"]), labels={"a.png": "unheard of"})
        with pytest.raises(ConfigError, match="radiology-grey"):
            plan(root, given)
        row = plan(root, replace(given, labels_asked=False))["a.png"]
        assert (row.pipeline, row.label) == ("radiology-grey", "")


class TestCollisions:
    def test_a_promoted_name_gives_way_to_a_file_that_has_it(
        self, export: Callable[..., Path]
    ) -> None:
        root = export({"a.jpg": picture("JPEG"), "a.jpg.png": picture("PNG")})
        rows = plan(root)
        assert rows["a.jpg"].action is Action.REJECT
        assert rows["a.jpg"].out == ""
        assert "rename" in rows["a.jpg"].detail
        assert rows["a.jpg.png"].action is Action.PROTECT

    def test_a_promoted_name_that_is_a_folder_is_rejected(
        self, export: Callable[..., Path]
    ) -> None:
        root = export({"a.jpg": picture("JPEG"), "a.jpg.png/b.png": picture("PNG")})
        assert plan(root)["a.jpg"].action is Action.REJECT

    def test_names_that_differ_in_case_meet_only_where_case_is_ignored(self) -> None:
        rows = [Row(Found(name), Action.PROTECT, out=name) for name in ("A.dcm", "a.dcm", "b.dcm")]
        apart = reject_collisions(rows, ignores_case=False)
        assert [row.action for row in apart] == [Action.PROTECT] * 3
        met = reject_collisions(rows, ignores_case=True)
        assert [row.action.value for row in met] == ["reject", "reject", "protect"]


class TestEstimate:
    def test_more_workers_take_less_time_and_lossy_images_grow(
        self, export: Callable[..., Path], pydicom_file: Callable[[str], Path]
    ) -> None:
        root = export(
            {"ct": pydicom_file("CT_small.dcm"), "lossy.dcm": pydicom_file("JPEG-lossy.dcm")}
        )
        rows = plan(root)
        assert estimate_seconds(rows.values(), 2) == estimate_seconds(rows.values(), 1) / 2
        assert estimate_bytes([rows["ct"]]) == rows["ct"].found.size

    def test_what_is_not_written_takes_nothing(self) -> None:
        row = Row(Found("x", size=10), Action.LEAVE)
        assert estimate_bytes([row]) == 0
        assert estimate_seconds([row], 1) == 0


class TestAtLeast:
    """Images whose pipeline was measured to protect too little are rejected where asked for."""

    @pytest.fixture
    def rules(self, tmp_path: Path) -> Rules:
        """With a pipeline of no protection at standard, and none measured at low."""
        own = make_pipeline(tmp_path / "weak", "radiology-grey", standard=0.0)
        return replace(RULES, candidates=find_candidates([str(own)]))

    def test_what_is_weaker_is_rejected_with_advice(
        self, export: Callable[..., Path], rules: Rules
    ) -> None:
        root = export({"grey.png": picture("PNG")})
        weak = plan(root, replace(rules, at_least=0.0))["grey.png"]
        assert (weak.action, weak.protection) == (Action.PROTECT, 0.0)
        row = plan(root, replace(rules, at_least=0.5))["grey.png"]
        assert (row.action, row.reason) == (Action.REJECT, "protection_too_low")
        assert "radiology-grey is 0.00 at strength standard" in row.detail
        assert "medprotect train" in row.detail

    def test_another_strength_that_reaches_it_is_named(
        self, export: Callable[..., Path], tmp_path: Path
    ) -> None:
        root = export({"grey.png": picture("PNG")})
        own = find_candidates([str(make_measured(tmp_path / "own", "radiology-grey"))])
        row = plan(root, replace(RULES, candidates=own, at_least=0.7))["grey.png"]
        assert "is 0.66 at strength standard (0.85 at --strength high)" in row.detail
        row = plan(root, replace(RULES, candidates=own, at_least=0.66))["grey.png"]
        assert (row.action, row.measured) == (Action.PROTECT, FIGURES)

    def test_so_is_what_was_not_measured(self, export: Callable[..., Path], rules: Rules) -> None:
        root = export({"grey.png": picture("PNG")})
        row = plan(root, replace(rules, at_least=0.0, strength="low"))["grey.png"]
        assert (row.action, row.reason) == (Action.REJECT, "protection_too_low")
        assert "was not measured on such images at strength low" in row.detail
