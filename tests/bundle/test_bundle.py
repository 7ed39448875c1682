import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data.dataloader import DataLoader
from monai.data.dataset import CacheDataset, Dataset
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import decollate_batch
from monai.transforms.compose import Compose
from monai.transforms.lazy.functional import apply_pending
from monai.transforms.spatial.array import Rotate90
from monai.transforms.spatial.dictionary import Rotate90d
from PIL import Image as Picture
from pydicom import dcmread

from medprotect.bundle.dataset import list_images
from medprotect.bundle.inferer import NoiseInferer, WeightsLoader
from medprotect.bundle.layout import bundle_files
from medprotect.bundle.transforms import AddNoised, Presentd
from medprotect.confounder.card import SLOTS, load_card, shipped_cards
from medprotect.confounder.key import Key
from medprotect.confounder.noise import NoiseNetwork, network_arguments
from medprotect.errors import ConfigError, PipelineError
from medprotect.protect.transforms import (
    LoadProtectable,
    LoadProtectabled,
    Protect,
    Protectd,
    SaveProtected,
    SaveProtectedd,
)

from .conftest import refer

NAME = "radiology-grey"
KEY = Key(bytes(range(32)))
DICOM = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_padded.dcm",
    "MR_small_implicit.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_RLE.dcm",
)


@pytest.fixture
def bundle() -> Path:
    return load_card(NAME).folder


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    KEY.save(tmp_path / "keys" / "owner.key")
    return tmp_path / "keys" / "owner.key"


@pytest.fixture
def mixed(export: Callable[..., Path], pydicom_file: Callable[[str], Path], tmp_path: Path) -> Path:
    import nibabel

    nifti = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    files = {f"series/{name}": pydicom_file(name) for name in DICOM}
    shade = np.random.default_rng(0).integers(0, 255, (40, 52), dtype=np.uint8)
    for ending in ("png", "tif", "jpg"):
        Picture.fromarray(shade).save(tmp_path / f"shade.{ending}")
        files[f"a/shade.{ending}"] = tmp_path / f"shade.{ending}"
    Picture.fromarray(shade).convert("RGB").save(tmp_path / "grey-in-colour.png")
    files["a/grey-in-colour.png"] = tmp_path / "grey-in-colour.png"
    files["a/refers.dcm"] = refer(pydicom_file("CT_small.dcm"), tmp_path / "refers.dcm")
    return export({**files, "brain.nii.gz": nifti, "notes.txt": b"no image"})


def run(*arguments: object, folder: Path) -> str:
    for needed in ("fire", "ignite", "jsonschema"):
        pytest.importorskip(needed)
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


BUNDLES = [card for card in shipped_cards() if card.codes.source != SLOTS]


@pytest.mark.parametrize("card", BUNDLES, ids=lambda card: card.name)
def test_the_files_of_a_shipped_bundle_are_those_of_its_card(card) -> None:  # type: ignore[no-untyped-def]
    for name, text in bundle_files(card).items():
        assert (card.folder / name).read_text("utf-8") == text, (
            f"{name}: python -m medprotect.bundle.layout pipelines/{card.name}"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", [card.name for card in BUNDLES])
def test_monai_verifies_metadata_and_network_without_a_network(name: str) -> None:
    folder = load_card(name).folder
    meta = ("--meta_file", "configs/metadata.json")
    schema = "configs/meta_schema_20240725.json"
    said = run("monai.bundle", "verify_metadata", *meta, "--filepath", schema, folder=folder)
    assert "metadata is verified with no error" in said
    network = ("--net_id", "network_def", "--config_file", "configs/inference.json")
    said = run("monai.bundle", "verify_net_in_out", *meta, *network, "--any", 20, folder=folder)
    assert "verified with no error" in said


@pytest.mark.slow
@pytest.mark.parametrize(("inside", "along_z"), [(True, "coherent"), (False, "independent")])
def test_monai_writes_the_bytes_that_medprotect_writes(
    inside: bool, along_z: str, bundle: Path, mixed: Path, key_file: Path, tmp_path: Path
) -> None:
    place = bundle if inside else tmp_path
    options = () if inside else ("--bundle_root", bundle)
    config = (
        "--config_file",
        "configs/inference.json" if inside else bundle / "configs/inference.json",
    )
    places = ("--dataset_dir", mixed, "--output_dir", tmp_path / "monai" / "out")
    own = (*places, "--key_file", key_file, "--along_z", along_z)
    run("monai.bundle", "run", *config, *options, *own, folder=place)
    out = tmp_path / "ours" / "out"
    own = ("--pipeline", NAME, "--key", key_file, "--along-z", along_z, "--accept-weak")
    run("medprotect", "run", mixed, out, *own, folder=tmp_path)
    kinds = {dcmread(path).file_meta.TransferSyntaxUID for path in out.rglob("*.dcm")}
    assert len(kinds) + len({"png", "tif", "jpg", "nii.gz"}) >= 10
    assert len(contents(out)) == len(DICOM) + 6
    assert contents(tmp_path / "monai" / "out") == contents(out)
    referred = dcmread(out / "a/refers.dcm").ReferencedImageSequence[0].ReferencedSOPInstanceUID
    assert referred == dcmread(out / "series/CT_small.dcm").SOPInstanceUID


@pytest.mark.slow
def test_the_example_of_the_documentation_runs(tmp_path: Path) -> None:
    pytest.importorskip("ignite")
    script = Path(__file__).parents[2] / "docs" / "researchers" / "bundle_example.py"
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path / "folder")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("the same bytes by transforms and by bundle: True") == 2
    assert "noise of (1, 1, 64, 64)" in done.stdout


def test_of_images_stored_in_colour_a_grey_bundle_lists_those_that_are_grey(
    bundle: Path, export: Callable[..., Path], tmp_path: Path
) -> None:
    shade = np.random.default_rng(0).integers(0, 255, (40, 52), dtype=np.uint8)
    picture = Picture.fromarray(shade).convert("RGB")
    picture.save(tmp_path / "grey.png")
    picture.putpixel((3, 3), (7, 7, 8))
    picture.save(tmp_path / "colour.png")
    root = export({name: tmp_path / name for name in ("grey.png", "colour.png")})
    assert list_images(str(root), str(bundle)) == [{"image": str(root / "grey.png")}]


def test_configs_of_other_weights_are_refused(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / NAME)
    arguments = network_arguments(load_card(bundle))
    WeightsLoader(NoiseNetwork(**arguments), str(folder))()
    with pytest.raises(PipelineError, match="write them again"):
        WeightsLoader(NoiseNetwork(**{**arguments, "temperature": 9.0}), str(folder))()


def test_an_array_without_a_file_is_protected_too(bundle: Path, key_file: Path) -> None:
    # What a MONAI Deploy app does: no transform that loads or saves.
    network = NoiseNetwork(**network_arguments(load_card(bundle))).eval()
    WeightsLoader(network, str(bundle))()
    rows = np.random.default_rng(1).normal(0, 300, (1, 48, 40, 2)).astype(np.int16)
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0]))
    item = Presentd("image", modality="CT")({"image": MetaTensor(torch.from_numpy(rows), affine)})
    noise = NoiseInferer(str(key_file))(item["image"][None], network)[0]
    add = AddNoised("pred", str(bundle), str(key_file))
    protected = add({**item, "pred": noise})["pred"]
    assert protected.shape == rows.shape
    assert protected.dtype == torch.int16
    assert torch.equal(protected.affine, affine.to(protected.affine))
    change = (protected.as_tensor() - torch.from_numpy(rows)).abs()
    assert 0 < float(change.max()) < 60


class TestTransforms:
    def test_affine_and_operations_are_kept(self, pydicom_file: Callable[[str], Path]) -> None:
        image = LoadProtectabled("image")({"image": pydicom_file("CT_small.dcm")})["image"]
        image.affine = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0]))
        image.push_applied_operation({"class": "Noted"})
        changed = Protect(NAME, KEY)(image)
        assert torch.equal(changed.affine, image.affine)
        assert changed.applied_operations == image.applied_operations

    @pytest.mark.parametrize("lazy", [False, True])
    def test_lazy_transforms_wait_for_them(
        self, lazy: bool, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        source = pydicom_file("CT_small.dcm")
        steps = [LoadProtectabled("image"), Protectd("image", NAME, KEY)]
        protected = Compose(steps)({"image": source})["image"]
        after = Compose([*steps, Rotate90d("image")], lazy=lazy)({"image": source})["image"]
        assert torch.equal(after.as_tensor(), Rotate90()(protected).as_tensor())
        assert [each["class"] for each in after.applied_operations] == ["Rotate90"]
        before = Compose([steps[0], Rotate90d("image"), steps[1]], lazy=lazy)
        with pytest.raises(RuntimeError) as caught:
            before({"image": source})
        assert isinstance(caught.value.__cause__, ConfigError)
        late = Compose([*steps, Rotate90d("image"), SaveProtectedd("image", tmp_path)], lazy=lazy)
        with pytest.raises(RuntimeError):
            late({"image": source})
        assert list(tmp_path.iterdir()) == []

    def test_what_waits_for_an_image_still_waits_for_the_protected_one(
        self, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        image = LoadProtectable()(pydicom_file("CT_small.dcm"))
        waiting = Rotate90(lazy=True)(image)
        assert len(waiting.pending_operations) == 1
        protected = Protect(NAME, KEY)(waiting)
        assert len(protected.pending_operations) == 1
        with pytest.raises(ConfigError, match="waiting"):
            SaveProtected(tmp_path)(protected)
        once = Protect(NAME, KEY)(image)
        turned, _ = apply_pending(protected)
        assert torch.equal(turned.as_tensor().to(once.dtype), Rotate90()(once).as_tensor())

    @pytest.mark.parametrize("workers", [0, 2])
    def test_a_cache_keeps_files_and_noise_whole(
        self, workers: int, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        names = ("CT_small.dcm", "MR_small.dcm")
        data = [{"image": str(pydicom_file(name))} for name in names]
        steps = Compose([LoadProtectabled("image"), Protectd("image", NAME, KEY)])
        cached = CacheDataset(data, steps, num_workers=workers, progress=False)
        for _ in range(2):
            for number, name in enumerate(names):
                once = steps({"image": str(pydicom_file(name))})["image"]
                assert torch.equal(cached[number]["image"].as_tensor(), once.as_tensor())
        SaveProtectedd("image", tmp_path / "cached")(cached[0])
        SaveProtectedd("image", tmp_path / "fresh")(steps(data[0]))
        assert contents(tmp_path / "cached") == contents(tmp_path / "fresh")

    @pytest.mark.parametrize("workers", [0, 2])
    def test_loaders_carry_files_whole(
        self, workers: int, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        steps = Compose([LoadProtectabled("image"), Protectd("image", NAME, KEY)])
        data = [{"image": str(pydicom_file("CT_small.dcm"))}] * 2
        loader = DataLoader(Dataset(data, steps), batch_size=2, num_workers=workers)
        items = decollate_batch(next(iter(loader)))
        once = steps(data[0])["image"]
        for number, item in enumerate(items):
            assert torch.equal(item["image"].as_tensor(), once.as_tensor())
            SaveProtectedd("image", tmp_path / str(number))(item)
        first, second = (contents(tmp_path / str(number)) for number in range(2))
        assert first == second

    def test_what_comes_out_can_be_pickled_and_holds_nothing_of_the_key(
        self, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        steps = Compose([LoadProtectabled("image"), Protectd("image", NAME, KEY)])
        item = steps({"image": pydicom_file("CT_small.dcm")})
        data = pickle.dumps(item)
        for secret in (KEY.secret, *map(KEY.subkey, ("uids", "codes", "decoys"))):
            assert secret not in data
            assert secret.hex().encode() not in data
        for name, each in (("as-it-was", item), ("again", pickle.loads(data))):  # noqa: S301
            SaveProtectedd("image", tmp_path / name)(each)
        assert contents(tmp_path / "as-it-was") == contents(tmp_path / "again")

    def test_saved_files_keep_their_place_below_the_root(
        self, pydicom_file: Callable[[str], Path], tmp_path: Path
    ) -> None:
        source = pydicom_file("CT_small.dcm")
        steps = Compose(
            [
                LoadProtectabled("image"),
                Protectd("image", NAME, KEY),
                SaveProtectedd("image", tmp_path, data_root_dir=source.parents[1]),
            ]
        )
        steps({"image": source})
        assert (tmp_path / source.parent.name / source.name).is_file()
