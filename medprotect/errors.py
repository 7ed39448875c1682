"""The one exception tree.

::

    MedprotectError
    ├── ConfigError                 2   wrong arguments or configuration
    │   └── KeyFileError            2   the owner's key is missing, damaged or readable by others
    ├── InputError                  3   about one file of the export; in a run it rejects that file
    │   ├── NotAnImageError         3   no supported format, or no pixels in it
    │   ├── UnsupportedImageError   3   an image, but of a kind that is not protected
    │   ├── CorruptImageError       3   an image that cannot be decoded in full
    │   │   └── HeaderFaultError    3   a header that contradicts itself; its pixels may be sound
    │   ├── ImageTooLargeError      3   over a limit of `medprotect.limits`
    │   ├── UnsafePathError         3   a link, a device, or a path that leaves the export
    │   ├── InputChangedError       3   the file changed while the run was under way
    │   ├── NoPipelineError         3   no pipeline fits the image
    │   ├── BudgetBelowOneError     3   too few pixels can change by one stored unit
    │   └── ProtectionTooLowError   3   its pipeline protects less than was asked for
    ├── OutputError                 5   OUT or its state folder cannot be used
    │   ├── StateLockedError        5   another run works on the same OUT
    │   └── StateMismatchError      5   OUT belongs to a run with other settings
    ├── StorageError                6   disk full or an I/O error; stopped safely, resumable
    ├── PeerError                   6   a DICOM peer, cluster or object store is away, or refuses
    ├── PipelineError               7   a pipeline is missing, damaged or of another modality
    │   └── HashMismatchError       7   weights differ from the sha256 in their card
    └── VerificationError           8   a bound, a header or a count does not hold
        └── VaultError              8   a vault is damaged, or does not fit its OUT

The number is the exit code of a command that ends with the error. A message says what, where and
what to do next; it never holds a name, a path or a header value of a patient's file.
"""

import traceback
from pathlib import Path
from typing import ClassVar


class MedprotectError(Exception):
    """Base of all errors that medprotect raises on purpose.

    Attributes
    ----------
    exit_code : int
        What a command that ends with this error returns to the shell.
    slug : str
        A stable word for it in JSON, receipts and journals.

    Examples
    --------
    >>> import medprotect
    >>> try:
    ...     medprotect.load_pipeline("none-such")
    ... except medprotect.MedprotectError as error:
    ...     print(error.slug, error.exit_code)
    pipeline 7
    """

    exit_code: ClassVar[int] = 1
    slug: ClassVar[str] = "error"


class ConfigError(MedprotectError):
    """Wrong arguments or configuration."""

    exit_code = 2
    slug = "config"


class KeyFileError(ConfigError):
    """The owner's key is missing, damaged or readable by others."""

    slug = "key_file"


class InputError(MedprotectError):
    """One file of the export cannot be protected; in a run it rejects that file.

    Attributes
    ----------
    series : str
        The series of the file, as in `medprotect.imaging.image.Description`, where it is known.
    """

    exit_code = 3
    slug = "input"
    series: str = ""


class NotAnImageError(InputError):
    """No supported format, or no pixels in it."""

    slug = "not_an_image"


class UnsupportedImageError(InputError):
    """An image, but of a kind that is not protected."""

    slug = "unsupported"


class CorruptImageError(InputError):
    """An image that cannot be decoded in full."""

    slug = "corrupt"


class HeaderFaultError(CorruptImageError):
    """A header that contradicts itself or lacks what its pixels are read by; they may be sound."""

    slug = "header_fault"


class ImageTooLargeError(InputError):
    """Over a limit of `medprotect.limits`."""

    slug = "too_large"


class UnsafePathError(InputError):
    """A link, a device, or a path that leaves the export."""

    slug = "unsafe_path"


class InputChangedError(InputError):
    """The file changed while the run was under way."""

    slug = "changed"


class NoPipelineError(InputError):
    """No pipeline fits the image."""

    slug = "no_pipeline"


class BudgetBelowOneError(InputError):
    """Too few pixels can change by one stored unit."""

    slug = "budget_below_one"


class ProtectionTooLowError(InputError):
    """The pipeline of the image was measured to protect less than was asked for, or not at all."""

    slug = "protection_too_low"


class OutputError(MedprotectError):
    """OUT or its state folder cannot be used."""

    exit_code = 5
    slug = "output"


class StateLockedError(OutputError):
    """Another run works on the same OUT."""

    slug = "locked"


class StateMismatchError(OutputError):
    """OUT belongs to a run with other settings."""

    slug = "other_run"


class StorageError(MedprotectError):
    """Disk full or an I/O error; stopped safely, resumable."""

    exit_code = 6
    slug = "storage"


class PeerError(MedprotectError):
    """A DICOM peer, a cluster or an object store is away, or refuses; it can go on later."""

    exit_code = 6
    slug = "peer"


class PipelineError(MedprotectError):
    """A pipeline is missing, damaged or of another modality."""

    exit_code = 7
    slug = "pipeline"


class HashMismatchError(PipelineError):
    """Weights differ from the sha256 in their card."""

    slug = "hash_mismatch"


class VerificationError(MedprotectError):
    """A bound, a header or a count does not hold."""

    exit_code = 8
    slug = "verification"


class VaultError(VerificationError):
    """A vault is damaged, or does not fit its OUT."""

    slug = "vault"


def place_of(error: BaseException) -> str:
    """Return kind and place of an error of another's; its text may hold what a header says."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1] if frames else None
    where = f" at {Path(last.filename).name}:{last.lineno}" if last else ""
    return f"{type(error).__name__}{where}"
