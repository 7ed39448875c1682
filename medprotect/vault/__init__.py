"""What gets the export back from OUT, kept encrypted for those who may."""
