"""Tasks: manipulation."""
