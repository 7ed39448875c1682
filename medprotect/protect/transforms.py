"""MONAI transforms that read, protect and write images, in stored values.

Usable in any ``Compose``; `medprotect run` protects every file through them::

    key = Key.load(default_key_path())
    protect = Compose(
        [
            LoadProtectabled("image"),
            Protectd("image", pipeline="radiology-grey", key=key),
            SaveProtectedd("image", folder="protected"),
        ]
    )
    protect({"image": "slice.dcm"})

Tensors hold *stored values* in the file's own integer or floating point type, channel first:
(C, H, W), or (C, H, W, N) for a file of N frames or slices. What lies between reading and writing
may look at them and must not change them: `SaveProtected` checks every pixel against its budget.
"""

import hashlib
import os
import secrets
from collections.abc import Hashable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform, Transform
from torch.utils.data._utils.collate import default_collate_fn_map

from medprotect.confounder.along_z import COHERENT
from medprotect.confounder.card import SLOTS, Card, load_card
from medprotect.confounder.key import Key
from medprotect.confounder.noise import Confounder
from medprotect.errors import ConfigError
from medprotect.imaging import formats
from medprotect.imaging.image import Content, Derivation, Pair, Stored
from medprotect.imaging.pairs import choose_voxels, read_content
from medprotect.intensity.budget import STRENGTHS
from medprotect.protect.atomic import publish, write_file
from medprotect.protect.protectable import (
    FileCheck,
    Protectable,
    add_noise,
    check_stream,
    derive,
    read_protectable,
    settle,
)

SOURCE = "protectable"
"""Key of the meta data under which the file stands that a tensor was read from."""

DERIVATION = "derivation"
"""Key of the meta data under which stands what a protected file says of itself."""

CHECKED = "checked"
NOTES = "notes"
SAVED = "saved_to"

_SHOWN = 12
"""Most classes that a message names."""


class Carried:
    """A value in meta data that MONAI passes on whole when it collates, decollates or copies."""

    ndim = 0  # with `item`, what decollate_batch takes for a scalar

    def __init__(self, value: object) -> None:
        self.value = value

    def item(self) -> "Carried":
        """Return itself."""
        return self

    def __deepcopy__(self, _memo: object) -> "Carried":
        return self


def _list(batch: list[Carried], *, collate_fn_map: object = None) -> list[Carried]:
    return list(batch)


default_collate_fn_map[Carried] = _list


class LoadProtectable(Transform):
    """Read an image file of any format that is protected, known by its content."""

    def __call__(self, source: str | os.PathLike[str] | Content) -> MetaTensor:
        """Return the stored values, (C, H, W) or (C, H, W, N), with the file in the meta data.

        Parameters
        ----------
        source : str, PathLike, bytes or Pair
            A path, or a whole file. Beside a header lies the file of its voxels.

        Raises
        ------
        InputError
            Of the kind that says why it cannot be protected.
        """
        if isinstance(source, bytes | Pair):
            protectable = read_protectable(source)
            return to_tensor(protectable.stored, {SOURCE: Carried(protectable)})
        protectable = read_protectable(read_content(Path(source)))
        meta: dict[str, Any] = {
            SOURCE: Carried(protectable),
            "filename_or_obj": os.fspath(source),
        }
        return to_tensor(protectable.stored, meta)


class Protect(Transform):
    """Add a pipeline's noise within the budget.

    Parameters
    ----------
    pipeline : str, Path or Card
        Name of a shipped pipeline, folder of an own one, or its card.
    key : Key
        The owner's.
    strength : str
        ``low``, ``standard`` or ``high``.
    labels_sha256 : str
        Identity of the table that the labels come from, where there is one. UIDs depend on it, and
        without it on the classes and, those of instances, on the label of the image.
    classes : sequence of str
        All that labels may name, where they are none of the pipeline's own: for one that says any.
    keep_uids : bool
        Whether DICOM UIDs are kept.
    along_z : str
        ``coherent`` or ``independent``; see `medprotect.confounder.along_z`.
    device : str
        A torch device.

    Raises
    ------
    ConfigError
        There is no such strength, or no such way along z.
    PipelineError, HashMismatchError
        The pipeline is missing or damaged.
    """

    def __init__(
        self,
        pipeline: str | Path | Card,
        key: Key,
        *,
        strength: str = "standard",
        labels_sha256: str = "",
        classes: Sequence[str] = (),
        keep_uids: bool = False,
        along_z: str = COHERENT,
        device: str = "cpu",
    ) -> None:
        if strength not in STRENGTHS:
            raise ConfigError(f"Strength is one of {', '.join(STRENGTHS)}.")
        card = pipeline if isinstance(pipeline, Card) else load_card(pipeline)
        self._classes = tuple(classes) if card.codes.source == SLOTS else card.codes.classes
        self.confounder = Confounder(
            card, key, device, along_z=along_z, classes=len(self._classes) or None
        )
        self.strength = strength
        self._has_table = bool(labels_sha256)
        if card.codes.source == SLOTS and self._classes and not labels_sha256:
            labels_sha256 = hashlib.sha256(repr(self._classes).encode()).hexdigest()
        self.derivation = derive(
            card,
            key,
            strength,
            labels_sha256=labels_sha256,
            keep_uids=keep_uids,
            along_z=along_z,
        )

    def __call__(self, image: MetaTensor, label: object = None) -> MetaTensor:
        """Return the image with noise.

        Parameters
        ----------
        image : MetaTensor
            From `LoadProtectable`.
        label : str or int, or tensor or array of one, optional
            The class, where it is known: its name, or its number in the order of the card. With
            None or "" the pipeline's assigner reads the image.

        Raises
        ------
        ConfigError
            The tensor is not from `LoadProtectable`, or was changed since; or the label is no
            class of the pipeline.
        PipelineError
            The pipeline takes other channels.
        BudgetBelowOneError
            The noise would round away.
        """
        source = source_of(image)
        if not np.array_equal(from_tensor(image), source.stored, equal_nan=_is_float(source)):
            raise ConfigError("The image was changed after it was read; protect it first.")
        number = self.class_number(label)
        changed = add_noise(source.images, self.confounder.noise, self.strength, number)
        said = None if self._has_table else number  # a table says it already
        derivation = settle(self.derivation, source.file.description, said)
        return to_tensor(changed, {**image.meta, DERIVATION: Carried(derivation)}, image)

    def class_number(self, label: object) -> int | None:
        """Return the number of a class; None where it is not known.

        Parameters
        ----------
        label : str or int, or tensor or array of one
            As the transform takes it.

        Raises
        ------
        ConfigError
            The label is no class of the pipeline.
        """
        label = _single(label)
        if label is None or (isinstance(label, str) and not label):
            return None
        card = self.confounder.card
        if card.codes.source == "clusters":
            raise ConfigError(
                f"The pipeline {card.name} was trained without labels and takes none: leave out "
                "label_key."
            )
        classes = self._classes
        if card.codes.source == SLOTS and not classes:
            raise ConfigError(
                f"The pipeline {card.name} says any labels: name all of them as classes."
            )
        if isinstance(label, str) and label in classes:
            return classes.index(label)
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
            return label
        known = ", ".join(classes[:_SHOWN]) + (" ..." if len(classes) > _SHOWN else "")
        raise ConfigError(
            f"A label is no class of the pipeline {card.name}. Give a number from 0 to "
            f"{len(classes) - 1}, or a name: {known}. For labels of another kind, such as masks, "
            "leave out label_key."
        )


def _single(label: object) -> object:
    """Return the one value of a tensor, an array or a scalar of NumPy; all else as it is."""
    if isinstance(label, torch.Tensor | np.ndarray | np.generic) and label.ndim <= 1:
        values = label.reshape(-1).tolist()
        return values[0] if len(values) == 1 else label
    return label


class SaveProtected(Transform):
    """Write a protected image as a file, whole or not at all, and check it as read from the disk.

    Parameters
    ----------
    folder : str or PathLike, optional
        Where files go whose path was given to `LoadProtectable`, under their own name; a lossy
        format's name gets the ending of the lossless one it is promoted to.
    data_root_dir : str or PathLike, optional
        What of their path is left out; without it, all but the name.
    flush_names : bool
        Whether a file's name, too, is on the disk when it is returned; its bytes are in any case.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        data_root_dir: str | os.PathLike[str] | None = None,
        *,
        flush_names: bool = True,
    ) -> None:
        self._flush_names = flush_names
        self._folder = None if folder is None else Path(folder)
        self._root = None if data_root_dir is None else Path(data_root_dir)

    def __call__(
        self,
        image: MetaTensor,
        path: str | os.PathLike[str] | None = None,
        voxels_path: str | os.PathLike[str] | None = None,
    ) -> MetaTensor:
        """Write the image, and return it with `SAVED`, `NOTES` and `CHECKED` in its meta data.

        Parameters
        ----------
        image : MetaTensor
            From `Protect`.
        path : str or PathLike, optional
            The file; must not exist. Else a file in the folder.
        voxels_path : str or PathLike, optional
            Of an image in two files, that of the voxels, where `path` is given.

        Raises
        ------
        ConfigError
            The image is not from `Protect`, lazy operations are waiting for it, or there is no path
            to write to.
        VerificationError
            A pixel is beyond its budget, or a header element differs; the file is not there then.
        OutputError, StorageError
            The file exists or cannot be written.
        """
        source = source_of(image)
        derivation = value_of(image, DERIVATION)
        if not isinstance(derivation, Derivation):
            raise ConfigError("The image is not protected: it does not come from Protect.")
        if image.pending_operations:
            raise ConfigError("Operations are waiting for the image; what is written is no other.")
        finals = self._paths(image) if path is None else [Path(path)]
        if path is not None and voxels_path is not None:
            finals.append(Path(voxels_path))
        encoded = source.file.encode(list(from_tensor(image)), derivation)
        notes, members = encoded.notes, _members(encoded.data)
        del encoded  # a large file lies in memory often enough
        if len(members) != len(finals):
            raise ConfigError("An image in two files takes two paths to write to.")
        checked = self._write(members, finals, source.data, derivation.strength)
        meta = {**image.meta, SAVED: os.fspath(finals[0]), NOTES: notes}
        return to_tensor(from_tensor(image), {**meta, CHECKED: Carried(checked)}, image)

    def _write(
        self, members: list[bytes], finals: list[Path], source: Content, strength: str
    ) -> FileCheck:
        """Write files, check them as read from the disk, and give them names: headers last."""
        partials = [path.with_name(f".medprotect-{secrets.token_hex(8)}.part") for path in finals]
        try:
            for partial, data in zip(partials, members, strict=True):
                write_file(partial, data)
            members.clear()
            checked = _check(source, partials, strength)
            for partial, final in reversed(list(zip(partials, finals, strict=True))):
                publish(partial, final, flush=self._flush_names)
        finally:
            for partial in partials:
                partial.unlink(missing_ok=True)
        return checked

    def _paths(self, image: MetaTensor) -> list[Path]:
        name = image.meta.get("filename_or_obj")
        if self._folder is None or not name:
            raise ConfigError("There is no path to write to: give `path`, or `folder` and files.")
        source, read = source_of(image), Path(str(name))
        relative = Path(read.name) if self._root is None else read.relative_to(self._root)
        folder = (self._folder / relative).parent
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / (read.name + source.file.description.output_suffix)
        if not isinstance(source.data, Pair):
            return [final]
        detached = formats.describe(BytesIO(source.data.header)).detached
        if detached is None:
            raise ConfigError("The image is no header with voxels in another file.")
        voxels = choose_voxels(detached, read.name, lambda each: (read.parent / each).is_file())
        return [final, folder / voxels]


def _members(data: Content) -> list[bytes]:
    return [data.header, data.voxels] if isinstance(data, Pair) else [data]


def _check(source: Content, partials: list[Path], strength: str) -> FileCheck:
    if isinstance(source, Pair):
        return check_stream(source, Pair(*(each.read_bytes() for each in partials)), strength)
    with partials[0].open("rb") as written:
        return check_stream(BytesIO(source), written, strength)


class LoadProtectabled(MapTransform):
    """Dictionary form of `LoadProtectable`."""

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._load = LoadProtectable()

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the items with files read."""
        return {**data, **{key: self._load(data[key]) for key in self.key_iterator(data)}}


class Protectd(MapTransform):
    """Dictionary form of `Protect`.

    Parameters
    ----------
    keys : KeysCollection
        Of the images.
    pipeline, key, **options
        As `Protect` takes them.
    label_key : Hashable, optional
        Key of the class, as `Protect` takes it. Without it, the pipeline's assigner reads the
        images, whatever labels the items hold.

    Raises
    ------
    ConfigError
        An item lacks `label_key`, and `allow_missing_keys` is not set.
    """

    def __init__(
        self,
        keys: KeysCollection,
        pipeline: str | Path | Card,
        key: Key,
        *,
        label_key: Hashable | None = None,
        allow_missing_keys: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.protect = Protect(pipeline, key, **options)
        self._label_key = label_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the items with noise."""
        label = self._label(data)
        return {**data, **{key: self.protect(data[key], label) for key in self.key_iterator(data)}}

    def _label(self, data: Mapping[Hashable, Any]) -> object:
        if self._label_key is None:
            return None
        if self._label_key not in data and not self.allow_missing_keys:
            raise ConfigError("An item lacks label_key; name another, or leave it out.")
        return data.get(self._label_key)


class SaveProtectedd(MapTransform):
    """Dictionary form of `SaveProtected`.

    Parameters
    ----------
    keys : KeysCollection
        Of the images.
    folder, data_root_dir, flush_names
        As `SaveProtected` takes them.
    path_key : Hashable
        Key of the file to write, where it is given.
    voxels_path_key : Hashable
        Of an image in two files, key of that of the voxels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        folder: str | os.PathLike[str] | None = None,
        *,
        path_key: Hashable = "path",
        data_root_dir: str | os.PathLike[str] | None = None,
        voxels_path_key: Hashable = "voxels_path",
        flush_names: bool = True,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._save = SaveProtected(folder, data_root_dir, flush_names=flush_names)
        self._path_key, self._voxels_path_key = path_key, voxels_path_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the items, written."""
        paths = data.get(self._path_key), data.get(self._voxels_path_key)
        return {**data, **{key: self._save(data[key], *paths) for key in self.key_iterator(data)}}


def to_tensor(stored: Stored, meta: dict[str, Any], like: MetaTensor | None = None) -> MetaTensor:
    """Return (C, H, W[, N]) from the images (N, H, W[, C]) of a file, sharing memory.

    Operations, applied and waiting, are those of `like`; the affine stands in the meta data.
    """
    planes = stored[..., None] if stored.ndim == 3 else stored
    tensor = torch.from_numpy(planes).permute(3, 1, 2, 0)
    tensor = tensor[..., 0] if tensor.shape[-1] == 1 else tensor
    operations = None if like is None else like.applied_operations
    made = MetaTensor(tensor, meta=meta, applied_operations=operations)
    for waiting in [] if like is None else like.pending_operations:
        made.push_pending_operation(waiting)
    return made


def from_tensor(image: torch.Tensor) -> Stored:
    """Return the images (N, H, W[, C]) of a tensor from `to_tensor`."""
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    planes: Stored = (plain if plain.ndim == 4 else plain[..., None]).permute(3, 1, 2, 0).numpy()
    return planes[..., 0] if planes.shape[-1] == 1 else planes


def source_of(image: MetaTensor) -> Protectable:
    """Return the file that a tensor was read from.

    Raises
    ------
    ConfigError
        The tensor is not from `LoadProtectable`.
    """
    source = value_of(image, SOURCE)
    if not isinstance(source, Protectable):
        raise ConfigError("The image was not read by LoadProtectable.")
    return source


def value_of(image: torch.Tensor, key: str) -> object:
    """Return what stands under a key of a tensor's meta data; None where nothing does."""
    carried = image.meta.get(key) if isinstance(image, MetaTensor) else None
    return carried.value if isinstance(carried, Carried) else None


def check_of(image: MetaTensor) -> FileCheck:
    """Return what `SaveProtected` found of the file it wrote."""
    checked = value_of(image, CHECKED)
    if not isinstance(checked, FileCheck):
        raise ConfigError("The image was not written by SaveProtected.")
    return checked


def _is_float(source: Protectable) -> bool:
    return source.stored.dtype.kind == "f"
