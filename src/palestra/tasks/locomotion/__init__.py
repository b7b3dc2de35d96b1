"""Tasks: locomotion."""
