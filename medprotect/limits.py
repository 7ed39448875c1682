"""Every ceiling in one place: what is refused before memory is allocated for it."""

FILE_BYTES = 4 * 1024**3
"""Largest input file that is opened."""

DECODED_BYTES = 4 * 1024**3
"""Largest decoded size of one file, all frames together."""

IMAGE_PIXELS = 268_435_456
"""Most pixels of one image (16,384 x 16,384)."""

IMAGES_PER_FILE = 65_536
"""Most frames or slices of one file."""

HEADER_BYTES = 64 * 1024**2
"""Largest decompressed header, text chunk or metadata block."""

SAFETENSORS_HEADER_BYTES = 1024**2
"""Largest header of a weights file."""

HEADER_ELEMENTS = 1_000_000
"""Most elements of one DICOM header, nested ones included."""

HEADER_DEPTH = 64
"""Deepest nesting of sequences in a DICOM header."""
