"""What a run will do with every file, decided before anything is written."""
