"""Every ceiling in one place: what is refused before memory is allocated for it."""

FILE_BYTES = 4 * 1024**3
"""Largest file that is taken into memory as a whole; DICOM of many frames is not."""

DECODED_BYTES = 4 * 1024**3
"""Largest decoded size of one file, all frames together."""

WHOLE_BYTES = 64 * 1024**2
"""Largest file of many DICOM frames, decoded or not, that is taken into memory as a whole."""

IMAGE_PIXELS = 268_435_456
"""Most pixels of one image (16,384 x 16,384)."""

IMAGES_PER_FILE = 65_536
"""Most frames or slices of one file."""

HEADER_BYTES = 64 * 1024**2
"""Largest decompressed header, text chunk or metadata block."""

TEXT_HEADER_BYTES = 1024**2
"""Largest header of a MetaImage or NRRD file, which is text."""

PIXELS_LOOKED_AT = 128 * 1024**2
"""Pixels that a plan decodes for each job, to foresee what a run rejects by them: some seconds."""

CLUSTER_WORKERS = 4096
"""Most workers of a run on a cluster, where no other number is asked for."""

CLUSTER_SECONDS = 300.0
"""How long a run waits for the first node that can work, and for another once all are gone."""

SHARE_SECONDS = 30.0
"""How long a node waits to see a run's folders: it may be that it has only just started."""

LOST_WORKERS = 3
"""How many nodes or workers of a cluster may go away with a file before it is rejected."""

FETCHED_BYTES = 1024**3
"""Most bytes of a store's export that lie fetched for workers, but for one file that is larger."""

SAFETENSORS_HEADER_BYTES = 1024**2
"""Largest header of a weights file."""

HEADER_ELEMENTS = 1_000_000
"""Most elements of one DICOM header, nested ones included."""

HEADER_DEPTH = 64
"""Deepest nesting of sequences in a DICOM header."""

FILE_SECONDS = 300.0
"""Time that a worker has for any file, and planning for its header, besides what size asks for."""

SECONDS_PER_MEBIBYTE = 2.0
"""Time that a worker has more for each MiB of a file and its decoded images, planning of a file."""

SECONDS_PER_IMAGE = 0.5
"""Time that a worker has more for each frame or slice."""

MEMORY_SHARE = 0.8
"""Share of the machine's memory that all workers together may take."""

LEAST_WORKER_BYTES = 2 * 1024**3
"""What a worker may take on the smallest machine: the libraries alone need a quarter of it."""

LIBRARY_BYTES = 512 * 1024**2
"""What a worker takes before it has a file."""

VAULT_RECIPIENTS = 1000
"""Most recipients of one vault."""

VAULT_LIST_BYTES = 1024**3
"""Largest decompressed list of the files of one vault."""

LABEL_TABLE_BYTES = 64 * 1024**2
"""Largest table of labels."""
