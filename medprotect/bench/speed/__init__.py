"""How fast protecting, planning and the commands are, beside plain work."""
