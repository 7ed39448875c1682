"""What lies between reading and writing in a bundle: presented values in, protected values out.

A MONAI Deploy app drops transforms that load or save, and gives arrays in modality values instead.
So the noise is added here, and an array without a file is protected too; writing a file back
exactly is for `SaveProtectedd` alone, which needs the file.
"""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.transforms.transform import MapTransform
from numpy.typing import NDArray

from medprotect.bundle.inferer import HASHES, find_key
from medprotect.confounder.along_z import COHERENT, check_along_z
from medprotect.confounder.card import load_card
from medprotect.errors import ConfigError
from medprotect.imaging.image import Derivation, Image, Stored
from medprotect.intensity.budget import STRENGTHS
from medprotect.intensity.windows import present, view
from medprotect.protect.protectable import (
    Protectable,
    all_grey,
    apply_patterns,
    content_sha256,
    derive,
    settle,
)
from medprotect.protect.transforms import (
    DERIVATION,
    SOURCE,
    Carried,
    from_tensor,
    to_tensor,
    value_of,
)

IMAGES = "images"
"""Key of the meta data under which the images stand that presented values were made of."""


class Presentd(MapTransform):
    """Turn stored values into presented ones, 0..1, as the network sees them.

    Parameters
    ----------
    keys : KeysCollection
        Of images, (C, H, W) or (C, H, W, N): from `LoadProtectabled`, or arrays in modality
        values.
    modality : str
        DICOM Modality of arrays that come without a file.
    """

    def __init__(
        self, keys: KeysCollection, modality: str = "", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self._modality = modality

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the items with presented values, float32."""
        return {**data, **{key: self._present(data[key]) for key in self.key_iterator(data)}}

    def _present(self, image: torch.Tensor) -> MetaTensor:
        tensor = image if isinstance(image, MetaTensor) else MetaTensor(image)
        images = _images_of(tensor, self._modality)
        meta = {**tensor.meta, HASHES: Carried([content_sha256(each) for each in images])}
        if value_of(tensor, SOURCE) is None:
            meta[IMAGES] = Carried(images)
        shown = np.stack([present(view(each), grey=all_grey(images)) for each in images])
        return to_tensor(shown, meta, tensor)


class AddNoised(MapTransform):
    """Add the network's noise to the images it was made for, within the budget.

    Parameters
    ----------
    keys : KeysCollection
        Of the noise: ``pred``.
    folder : str or PathLike
        Of the pipeline, for what a file says of how it was protected.
    key_file : str or PathLike
        The owner's key.
    image_key : Hashable
        Key of the presented values.
    strength : str
        ``low``, ``standard`` or ``high``.
    keep_uids : bool
        Whether DICOM UIDs are kept.
    along_z : str
        As the noise was made with, ``coherent`` or ``independent``: new UIDs tell them apart.

    Raises
    ------
    ConfigError
        There is no such strength, or no such way along z.
    """

    def __init__(
        self,
        keys: KeysCollection,
        folder: str,
        key_file: str,
        *,
        image_key: Hashable = "image",
        strength: str = "standard",
        keep_uids: bool = False,
        along_z: str = COHERENT,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if strength not in STRENGTHS:
            raise ConfigError(f"Strength is one of {', '.join(STRENGTHS)}.")
        self._image_key, self._strength = image_key, strength
        self._folder, self._key_file, self._keep_uids = Path(folder), key_file, keep_uids
        self._along_z = check_along_z(along_z)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the items with stored values, protected, under the keys of the noise."""
        image = data[self._image_key]
        return {**data, **{key: self._add(data[key], image) for key in self.key_iterator(data)}}

    def _add(self, noise: torch.Tensor, image: MetaTensor) -> MetaTensor:
        images = _known_images(image)
        patterns = from_tensor(noise.cpu())
        patterns = patterns[..., None] if patterns.ndim == 3 else patterns

        def make(index: int, _presented: NDArray[np.float32]) -> NDArray[np.float32]:
            pattern: NDArray[np.float32] = patterns[index]
            return pattern

        changed = apply_patterns(images, make, self._strength)
        meta = dict(image.meta)
        source = value_of(image, SOURCE)
        if isinstance(source, Protectable):
            meta[DERIVATION] = Carried(settle(self._derive(), source.file.description))
        return to_tensor(changed, meta, image)

    def _derive(self) -> Derivation:
        card, key = load_card(self._folder), find_key(self._key_file)
        return derive(card, key, self._strength, keep_uids=self._keep_uids, along_z=self._along_z)


class PresentAgaind(MapTransform):
    """Turn stored values from `AddNoised` into presented ones, in the windows of their original."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the items with presented values, float32."""
        return {**data, **{key: self._present(data[key]) for key in self.key_iterator(data)}}

    def _present(self, image: MetaTensor) -> MetaTensor:
        seen = [view(each) for each in _known_images(image)]
        changed = from_tensor(image)
        grey = all_grey(each.image for each in seen)
        shown = [
            present(v.with_stored(plane), grey=grey) for v, plane in zip(seen, changed, strict=True)
        ]
        return to_tensor(np.stack(shown), dict(image.meta), image)


def _known_images(image: torch.Tensor) -> tuple[Image, ...]:
    """Return the images that presented values were made of."""
    source = value_of(image, SOURCE)
    images = source.images if isinstance(source, Protectable) else value_of(image, IMAGES)
    if not isinstance(images, tuple):
        raise ConfigError("The image was not presented by Presentd.")
    return images


def _images_of(image: MetaTensor, modality: str) -> tuple[Image, ...]:
    source = value_of(image, SOURCE)
    if isinstance(source, Protectable):
        return source.images
    stored = np.ascontiguousarray(from_tensor(image.cpu()))
    return tuple(_image_of_array(plane, modality) for plane in stored)


def _image_of_array(plane: Stored, modality: str) -> Image:
    kind = np.finfo(plane.dtype) if plane.dtype.kind == "f" else np.iinfo(plane.dtype)
    photometric = "RGB" if plane.ndim == 3 else "MONOCHROME2"
    return Image(plane, float(kind.min), float(kind.max), photometric, modality=modality)
