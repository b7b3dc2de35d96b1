"""Looking at a run: pictures, videos, the interactive viewer, and plots of its curves."""
