"""What all formats of volumes have in common: a header, and voxels in one block."""
