"""DICOM: codecs, stored values, and the header of a derived image."""
