"""What an officer can do about files that were not protected, by reason."""

from medprotect.errors import (
    BudgetBelowOneError,
    CorruptImageError,
    HeaderFaultError,
    ImageTooLargeError,
    InputChangedError,
    NoPipelineError,
    NotAnImageError,
    ProtectionTooLowError,
    UnsafePathError,
    UnsupportedImageError,
)

NAMES = {
    NotAnImageError.slug: "Not a known image format, or no pixels in it",
    UnsupportedImageError.slug: "A kind of image that cannot be protected",
    CorruptImageError.slug: "Cannot be decoded in full",
    HeaderFaultError.slug: "A header that contradicts itself",
    ImageTooLargeError.slug: "Larger or slower than the limits allow",
    UnsafePathError.slug: "A link, a device, or a file that may not be read",
    InputChangedError.slug: "Changed during the run",
    NoPipelineError.slug: "No pipeline for this kind of image",
    BudgetBelowOneError.slug: "Too few grey values: the noise would be rounded away",
    ProtectionTooLowError.slug: "Its pipeline protects less than --at-least asks for",
}

REMEDIES = {
    NotAnImageError.slug: "If it is an image, export it with its pixels, as DICOM, NIfTI, PNG, "
    "TIFF or JPEG. If not, leave it out of the export.",
    UnsupportedImageError.slug: "Export it in another form: uncompressed or losslessly "
    "compressed, grey or RGB, integers. The receipt says what was unsupported. "
    "Colour may then need a pipeline by name; the plan says which.",
    CorruptImageError.slug: "Export it again from its source, and run again.",
    HeaderFaultError.slug: "Have the source system correct the element that the receipt names, and "
    "export it again; the pixels may be sound.",
    ImageTooLargeError.slug: "Split it, or have it checked whether the file is intact.",
    UnsafePathError.slug: "Put the file itself in the export, readable for whoever runs "
    "medprotect.",
    InputChangedError.slug: "Wait until nothing writes to the export, then run again.",
    NoPipelineError.slug: "Run it with the --pipeline that plan and receipt name: it was not made "
    "for such images. Or train one that is (medprotect train --help).",
    BudgetBelowOneError.slug: "Look at it with medprotect inspect FILE. If --strength high does "
    "not help, do not release it.",
    ProtectionTooLowError.slug: "Try --strength high, or train a pipeline on images of this kind "
    "(medprotect train --help).",
}

OTHER = "See the receipt. Do not release the file before the reason is known."
HELD = (
    "Nothing is wrong with them: another file of their series was rejected. Correct that one and "
    "run again, or give --on-reject keep to release them without it."
)


def name_reason(slug: str) -> str:
    """Return a reason in words."""
    return NAMES.get(slug, slug.replace("_", " ").capitalize() or "Not stated")


def find_remedy(slug: str) -> str:
    """Return what to do."""
    return REMEDIES.get(slug, OTHER)
