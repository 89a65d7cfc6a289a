"""What a start depends on: checkpoint, tables and topic that belong together, and one run at a time."""
