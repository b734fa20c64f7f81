"""What may keep a node from working on this machine, and what to do about it."""
