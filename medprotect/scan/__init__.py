"""What is in the export: every file, found and told apart by content."""
