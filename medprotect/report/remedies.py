"""What an officer can do about files that were not protected, by the reason."""

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
    NotAnImageError.slug: "No image that is known, or no pixels in it",
    UnsupportedImageError.slug: "A kind of image that is not protected",
    CorruptImageError.slug: "Cannot be decoded in full",
    HeaderFaultError.slug: "A header that contradicts itself",
    ImageTooLargeError.slug: "Over a limit of size, memory or time",
    UnsafePathError.slug: "A link, a device, or not to be opened",
    InputChangedError.slug: "Changed while the run was under way",
    NoPipelineError.slug: "No pipeline for this kind of image",
    BudgetBelowOneError.slug: "Too few grey values: the noise would round away",
    ProtectionTooLowError.slug: "Its pipeline protects less than --at-least asks for",
}

REMEDIES = {
    NotAnImageError.slug: "If it is an image, export it with its pixels, as DICOM, NIfTI, PNG, "
    "TIFF or JPEG; if not, leave it out of the export.",
    UnsupportedImageError.slug: "Have the source system send it in another form: uncompressed or "
    "losslessly compressed, grey or RGB, integers. The receipt says what stood in the way; colour "
    "may then need a pipeline by name, and the plan says which.",
    CorruptImageError.slug: "Export it again from its source, and compare the two copies.",
    HeaderFaultError.slug: "Have the source system correct the element that the receipt names, and "
    "export it again; the pixels may be sound.",
    ImageTooLargeError.slug: "Split it, or have a technician look whether the file is sound.",
    UnsafePathError.slug: "Put the file itself in the export, readable by who runs medprotect.",
    InputChangedError.slug: "Wait until nothing writes to the export, then run again.",
    NoPipelineError.slug: "Run it with the --pipeline that plan and receipt name: it was not made "
    "for such images. Or train one that is (medprotect train --help).",
    BudgetBelowOneError.slug: "Look at it with medprotect inspect FILE; --strength high may do, "
    "else do not release it unprotected.",
    ProtectionTooLowError.slug: "Try --strength high, or train a pipeline on images of this kind "
    "(medprotect train --help); or ask for less.",
}

OTHER = "See the receipt; do not release it unprotected before the reason is known."
HELD = (
    "Nothing is wrong with them: another file of their series was rejected. When that is mended, "
    "run again; or take them without it, with --on-reject keep."
)


def name_reason(slug: str) -> str:
    """Return a reason in words."""
    return NAMES.get(slug, slug.replace("_", " ").capitalize() or "Not stated")


def find_remedy(slug: str) -> str:
    """Return what to do."""
    return REMEDIES.get(slug, OTHER)
