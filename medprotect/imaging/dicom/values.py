"""The values of elements, read leniently: what cannot be read counts as absent."""

import math
import struct

from medprotect.imaging.dicom.elements import DataSet, Element

_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}


def text(data_set: DataSet, element: Element | None) -> str:
    """Return the value as text without padding; "" where there is none."""
    if element is None:
        return ""
    return data_set.value(element).decode("latin-1").strip(" \0")


def texts(data_set: DataSet, element: Element | None) -> list[str]:
    """Return the values of a multi-valued text; [] where there is none."""
    value = text(data_set, element)
    return [part.strip(" \0") for part in value.split("\\")] if value else []


def numbers(data_set: DataSet, element: Element | None, vr: str = "") -> list[float]:
    """Return the values as numbers; [] where there is none or one of them is no finite number.

    Parameters
    ----------
    data_set : DataSet
        The source of the element.
    element : Element or None
        Of a numeric VR, or of IS or DS.
    vr : str
        Read binary values as this VR instead (for ``US or SS``).
    """
    if element is None:
        return []
    vr = vr or element.vr
    try:
        if vr in _BINARY:
            value = data_set.value(element)
            letter = element.encoding.order + _BINARY[vr]
            found = [float(number) for (number,) in struct.iter_unpack(letter, value)]
        else:
            found = [float(part) for part in texts(data_set, element)]
    except (struct.error, ValueError):
        return []
    return found if all(map(math.isfinite, found)) else []


def integer(data_set: DataSet, element: Element | None) -> int | None:
    """Return a single whole number, or None where there is none."""
    found = numbers(data_set, element)
    return int(found[0]) if len(found) == 1 and found[0].is_integer() else None
