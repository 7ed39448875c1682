"""How near a run of compressed slices comes to what their codec alone would take."""

from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from medprotect.bench.speed.row import WORKERS, Row
from medprotect.bench.speed.run import PIPELINE, make_settings, time_run
from medprotect.confounder.key import Key
from medprotect.imaging.dicom.codecs import (
    CODECS,
    JPEG_2000_LOSSLESS,
    JPEG_LS_LOSSLESS,
    RLE_LOSSLESS,
)
from medprotect.imaging.dicom.header import read_layout
from medprotect.imaging.dicom.outline import read_outline
from medprotect.imaging.dicom.pixels import open_pixels

SYNTAXES = (JPEG_LS_LOSSLESS, JPEG_2000_LOSSLESS, RLE_LOSSLESS)

DECODED, ENCODED = 3, 1
"""What a run does with a slice: read it, write it, and for the check read both files anew."""

_SAMPLED = 10
_LEAST = 0.8


def measure_codecs(scratch: Path, key: Key, repeats: int, say: Callable[[str], None]) -> list[Row]:
    """Measure runs of compressed slices, beside the codec that each of them uses.

    Parameters
    ----------
    scratch : Path
        Holds ``export``, of native slices of 16 bits; a compressed copy is made, and removed.
    key : Key
        Any.
    repeats : int
        How often.
    say : callable
        Told what is being measured.
    """
    rows = []
    for syntax in SYNTAXES:
        name = CODECS[syntax].name
        say(name)
        folder = scratch / syntax
        compress_series(scratch / "export", folder, syntax)
        settings = make_settings(scratch, syntax, PIPELINE, WORKERS)
        shares, busy = [], []
        for _ in range(repeats):
            before = _codec_seconds(folder)
            run = time_run(settings, key)
            turns = zip(before, _codec_seconds(folder), strict=True)
            decode, encode = (sum(turn) / 2 for turn in turns)
            seconds = WORKERS / run.files  # of one worker, for a file
            shares.append((decode + encode) / seconds)
            busy.append((DECODED * decode + ENCODED * encode) / seconds)
        once = f"{name}, {WORKERS} workers / {WORKERS} threads that decode and encode once"
        all_of_it = f"{name}, share of its workers' time in {DECODED} decodings, {ENCODED} encoding"
        rows += [
            Row("c", f"{once}, files a second", "x", shares, least=_LEAST),
            Row("c", all_of_it, "x", busy),
        ]
    return rows


def compress_series(native: Path, folder: Path, syntax: str) -> None:
    """Write each native file of a folder again, compressed."""
    from pydicom import dcmread

    folder.mkdir()
    for path in sorted(native.iterdir()):
        dataset = dcmread(path)
        dataset.compress(syntax, generate_instance_uid=False)
        dataset.save_as(folder / path.name)


def _codec_seconds(folder: Path) -> tuple[float, float]:
    """Return how long one thread decodes and encodes a slice, as a run does it."""
    decoding = encoding = 0.0
    paths = sorted(folder.iterdir())[:_SAMPLED]
    for path in paths:
        with path.open("rb") as stream:
            outline = read_outline(stream)
            document = outline.read()
            layout = read_layout(document)
            pixels = open_pixels(document.data_set, outline.value, layout, document.transfer_syntax)
            began = perf_counter()
            stored = pixels.stored(0)
            decoded = perf_counter()
            pixels.encode(0, stored)
            decoding += decoded - began
            encoding += perf_counter() - decoded
    return decoding / len(paths), encoding / len(paths)
