"""Training as a bundle: MONAI's command makes the pipeline that `medprotect train` makes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from medprotect.confounder.card import WEIGHTS, load_card

TRAINING = {"modality": "US", "steps": 4, "tries": 2, "size": 16}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of two classes, and their table beside them."""
    folder = tmp_path_factory.mktemp("data") / "images"
    folder.mkdir()
    lines = ["file,label"]
    for number in range(12):
        shade = np.random.default_rng(number).integers(0, 256, (16, 16), np.uint8)
        Picture.fromarray(shade).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'odd' if number % 2 else 'even'}")
    (folder.parent / "labels.csv").write_text("\n".join(lines))
    return folder


def train_as_bundle(
    launch: list[str], images: Path, out: Path, configs: str, **given: object
) -> None:
    for needed in ("fire", "ignite"):
        pytest.importorskip(needed)
    settings = {"dataset_dir": images, "output_dir": out, **TRAINING, **given}
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "-m",
        *launch,
        "monai.bundle",
        "run",
        "--config_file",
        configs,
        *options,
    ]
    folder = load_card("radiology-grey").folder
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def train_as_command(images: Path, out: Path, *more: str) -> None:
    table = images.parent / "labels.csv"
    options = [word for name, value in TRAINING.items() for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "medprotect", "train", str(images), "--labels", str(table)]
    done = subprocess.run([*command, "--out", str(out), *options, *more], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [None, 3])
def test_it_makes_the_weights_of_the_command(
    images: Path, tmp_path: Path, clusters: int | None
) -> None:
    given = {"clusters": clusters} if clusters else {}
    train_as_bundle([], images, tmp_path / "bundle", "configs/train.json", **given)
    more = ["--codes", "clusters", "--clusters", str(clusters)] if clusters else []
    train_as_command(images, tmp_path / "command", *more)
    made, expected = (tmp_path / name / WEIGHTS for name in ("bundle", "command"))
    assert made.read_bytes() == expected.read_bytes()
    assert "<polyline" in (tmp_path / "command/docs/curves.svg").read_text()
    assert load_card(tmp_path / "bundle").codes == load_card(tmp_path / "command").codes


@pytest.mark.slow
def test_two_ranks_make_one_pipeline(images: Path, tmp_path: Path) -> None:
    launch = ["torch.distributed.run", "--standalone", "--nnodes=1", "--nproc_per_node=2", "-m"]
    configs = "['configs/train.json','configs/multi_gpu_train.json']"
    train_as_bundle(launch, images, tmp_path / "together", configs)
    assert load_card(tmp_path / "together").codes.classes == ("even", "odd")
