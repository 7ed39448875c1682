"""Exports that hold labels: small DICOM files and pictures of classes."""

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image as Picture
from pydicom import dcmread
from pydicom.dataset import Dataset

UID = "1.2.826.0.1.3680043.9"


def png(seed: int = 0) -> bytes:
    """A grey picture of 16 x 16."""
    shade = np.random.default_rng(seed).integers(20, 220, (16, 16), dtype=np.uint8)
    stream = BytesIO()
    Picture.fromarray(shade).save(stream, "PNG")
    return stream.getvalue()


def by_class(*folders: str, count: int = 10) -> dict[str, bytes]:
    """So many pictures in each folder."""
    return {f"{folder}/{number}.png": png(number) for folder in folders for number in range(count)}


def dicom(source: Path, number: int, **values: object) -> bytes:
    """A file of a series, a study and a patient of its own, which says some values."""
    header = dcmread(source)
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"{UID}.1.{number}"
    header.SeriesInstanceUID, header.StudyInstanceUID = f"{UID}.2.{number}", f"{UID}.3.{number}"
    header.PatientID = f"P{number}"
    for keyword, value in values.items():
        setattr(header, keyword, value)
    stream = BytesIO()
    header.save_as(stream)
    return stream.getvalue()


def of_studies(source: Path, studies: int = 4, **values: object) -> dict[str, bytes]:
    """Two files of each study."""
    return {
        f"{study}{side}.dcm": dicom(
            source, 10 * study + at, StudyInstanceUID=f"{UID}.3.{study}", **values
        )
        for study in range(studies)
        for at, side in enumerate("ab")
    }


def code(value: str, scheme: str) -> Dataset:
    """An item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, "in words"
    return item


def finding(value: str, *instances: str) -> Dataset:
    """A content item that says a finding, of some images or of none in particular."""
    item = Dataset()
    item.ValueType, item.RelationshipType = "CODE", "CONTAINS"
    item.ConceptNameCodeSequence, item.ConceptCodeSequence = (
        [code("121071", "DCM")],
        [code(value, "SCT")],
    )
    item.ContentSequence = [image(instance) for instance in instances]
    return item


def image(instance: str) -> Dataset:
    """A content item that refers to an image."""
    item, reference = Dataset(), Dataset()
    reference.ReferencedSOPInstanceUID = instance
    item.ValueType, item.RelationshipType = "IMAGE", "INFERRED FROM"
    item.ReferencedSOPSequence = [reference]
    return item


def container(*items: Dataset) -> Dataset:
    """A content item with others in it."""
    item = Dataset()
    item.ValueType, item.RelationshipType, item.ContentSequence = "CONTAINER", "CONTAINS", [*items]
    return item


def report(source: Path, study: str, *items: Dataset) -> bytes:
    """A structured report on a study."""
    header = dcmread(source)
    header.StudyInstanceUID, header.ContentSequence = study, [*items]
    stream = BytesIO()
    header.save_as(stream)
    return stream.getvalue()


def table(rows: Mapping[str, object] | list[list[object]], *head: str, between: str = ",") -> bytes:
    """A table of text, with a line of column names."""
    lines = [list(row) for row in rows.items()] if isinstance(rows, Mapping) else rows
    return "\n".join(between.join(map(str, line)) for line in [list(head), *lines]).encode()
