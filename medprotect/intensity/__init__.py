"""Windows, presented values, and the budget of change per pixel."""
