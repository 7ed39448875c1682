"""How the stored values of a frame are shown: modality transform, windows, LUTs (PS3.3 C.11)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medprotect.errors import HeaderFaultError, UnsupportedImageError
from medprotect.imaging.dicom.dictionary import tag_of
from medprotect.imaging.dicom.elements import DataSet, Element, find
from medprotect.imaging.dicom.values import integer, numbers, text
from medprotect.imaging.image import Lut, Window

PALETTE = "PALETTE COLOR"
"""Photometric Interpretation of stored values that are entries of a palette."""

_VOI_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


@dataclass(frozen=True, slots=True)
class Presentation:
    """How stored values become modality values, and in which windows those are looked at.

    Attributes
    ----------
    slope, intercept : float
        Rescale (PS3.3 section C.11.1); with a LUT its mean slope, and 0.
    windows : tuple of Window
        VOI windows and LUTs in modality values (PS3.3 section C.11.2).
    lut : Lut or None
        Modality LUT, or grey palette.
    """

    slope: float
    intercept: float
    windows: tuple[Window, ...]
    lut: Lut | None = None

    @property
    def has_lut(self) -> bool:
        """Whether what is shown comes out of a look-up table."""
        return self.lut is not None or any(window.lut for window in self.windows)


def read_presentation(data_set: DataSet, frame: int) -> Presentation:
    """Read rescale and windows of a frame: its own, else the shared ones, else the image's.

    Parameters
    ----------
    data_set : DataSet
        The header.
    frame : int
        From 0.

    Raises
    ------
    HeaderFaultError, UnsupportedImageError
        The rescale slope is 0, or the modality LUT is damaged or not monotone; or it is a palette
        and no ramp of greys.
    """
    if text(data_set, data_set.get("PhotometricInterpretation")).upper() == PALETTE:
        return _grey_palette(data_set)
    voi = functional_group(data_set, frame, "FrameVOILUTSequence")
    lut = _modality_lut(data_set)
    if lut is not None:
        lowest = float(lut.values.min())
        windows = _windows(data_set, voi) + _voi_luts(data_set, voi, lowest)
        return Presentation(lut.mean_slope, 0.0, windows, lut)
    rescale = functional_group(data_set, frame, "PixelValueTransformationSequence")
    slope = _number(data_set, rescale, "RescaleSlope", 1.0)
    intercept = _number(data_set, rescale, "RescaleIntercept", 0.0)
    if slope == 0:
        raise HeaderFaultError("RescaleSlope of the header is 0")
    lowest = -1.0 if _is_signed(data_set) else min(intercept, slope * 65535 + intercept)
    windows = _windows(data_set, voi) + _voi_luts(data_set, voi, lowest)
    return Presentation(slope, intercept, windows)


def functional_group(data_set: DataSet, frame: int, keyword: str) -> list[Element]:
    """Return the elements of a functional group macro of a frame, else those of the data set."""
    for sequence, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        groups = data_set.get(sequence)
        if groups is None or not groups.items or index >= len(groups.items):
            continue
        macro = find(groups.items[index].elements, tag_of(keyword))
        if macro is not None and macro.items:
            return macro.items[0].elements
    return data_set.elements


def _number(data_set: DataSet, elements: list[Element], keyword: str, default: float) -> float:
    found = numbers(data_set, find(elements, tag_of(keyword)))
    return found[0] if found else default


def _windows(data_set: DataSet, elements: list[Element]) -> tuple[Window, ...]:
    centers = numbers(data_set, find(elements, tag_of("WindowCenter")))
    widths = numbers(data_set, find(elements, tag_of("WindowWidth")))
    function = text(data_set, find(elements, tag_of("VOILUTFunction"))).upper()
    if function not in _VOI_FUNCTIONS:
        function = "LINEAR"
    return tuple(
        Window(center, width, function)
        for center, width in zip(centers, widths, strict=False)
        if width > 0
    )


def _voi_luts(data_set: DataSet, elements: list[Element], lowest: float) -> tuple[Window, ...]:
    """Return the VOI LUTs that can be read and show something (PS3.3 section C.11.2.1.1).

    Its first input is signed where modality values may be below zero.
    """
    sequence = find(elements, tag_of("VOILUTSequence"))
    found = []
    for item in (sequence.items if sequence else None) or ():
        lut = read_lut(data_set, item.elements, signed=lowest < 0)
        if lut is None:
            continue
        black, white = lut.values.min(), lut.values.max()
        shown = Lut(lut.first, (lut.values - black) / (white - black))
        width = float(len(lut.values))
        found.append(Window(lut.first + width / 2, width, "LUT", shown))
    return tuple(found)


def _modality_lut(data_set: DataSet) -> Lut | None:
    sequence = data_set.get("ModalityLUTSequence")
    if sequence is None or not sequence.items:
        return None
    lut = read_lut(data_set, sequence.items[0].elements, signed=_is_signed(data_set))
    if len(sequence.items) > 1:
        raise HeaderFaultError("ModalityLUTSequence of the header holds more than one item")
    if lut is None:
        raise HeaderFaultError(
            "in ModalityLUTSequence of the header, LUTData is not what LUTDescriptor says; the "
            "pixels are not at fault"
        )
    _check_monotone(
        lut,
        "the modality LUT of the image rises and falls, so neighbouring values are unrelated;"
        " store what comes out of it as pixels, without ModalityLUTSequence",
    )
    return lut


def _grey_palette(data_set: DataSet) -> Presentation:
    """Return the palette as the LUT that it is where all its colours are greys in order."""
    refused = (
        "a palette of colours, in which neighbouring values are unrelated; convert it to RGB, and"
        " the plan says which pipeline takes that"
    )
    luts = [
        read_lut(data_set, data_set.elements, signed=_is_signed(data_set), name=name)
        for name in (
            "RedPaletteColorLookupTable",
            "GreenPaletteColorLookupTable",
            "BluePaletteColorLookupTable",
        )
    ]
    red = luts[0]
    for lut in luts:
        is_grey = (
            lut is not None
            and red is not None
            and lut.first == red.first
            and np.array_equal(lut.values, red.values)
        )
        if not is_grey:
            raise UnsupportedImageError(refused)
    if red is None:
        raise UnsupportedImageError(refused)
    _check_monotone(red, refused)
    black, white = float(red.values.min()), float(red.values.max())
    window = Window((black + white) / 2, white - black, "LINEAR_EXACT")
    return Presentation(red.mean_slope, 0.0, (window,), red)


def _check_monotone(lut: Lut, refused: str) -> None:
    steps = np.diff(lut.values)
    if (steps < 0).any() and (steps > 0).any():
        raise UnsupportedImageError(refused)


def read_lut(
    data_set: DataSet, elements: list[Element], *, signed: bool, name: str = "LUT"
) -> Lut | None:
    """Read a look-up table; None where there is none, it is not as described, or it is flat.

    Parameters
    ----------
    data_set : DataSet
        The source of the elements.
    elements : list of Element
        With Descriptor and Data.
    signed : bool
        Whether the first input is meant as signed, whatever its VR says.
    name : str
        Beginning of the keywords of both.
    """
    element = find(elements, tag_of(name + "Data"))
    descriptor = numbers(data_set, find(elements, tag_of(name + "Descriptor")), "US")
    if element is None or len(descriptor) != 3:
        return None
    entries = int(descriptor[0]) or 65536
    first = int(descriptor[1])
    values = _entries(data_set, element, entries)
    if values is None or values.min() == values.max():
        return None
    return Lut(first - 65536 if signed and first >= 32768 else first, values)


def _entries(data_set: DataSet, element: Element, entries: int) -> NDArray[np.float64] | None:
    """Return the entries: 16-bit words, or bytes, in words where the VR says so."""
    value, order = data_set.value(element), element.encoding.order
    if len(value) == 2 * entries:
        return np.frombuffer(value, f"{order}u2").astype(np.float64)
    if len(value) != entries + entries % 2:
        return None
    cells = np.frombuffer(value, "u1")
    if order == ">" and element.vr != "OB":
        cells = cells.reshape(-1, 2)[:, ::-1].reshape(-1)
    return cells[:entries].astype(np.float64)


def _is_signed(data_set: DataSet) -> bool:
    return integer(data_set, data_set.get("PixelRepresentation")) == 1
