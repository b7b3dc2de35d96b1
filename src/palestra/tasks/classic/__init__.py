"""Tasks: classic."""
