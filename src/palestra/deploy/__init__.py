"""From a checkpoint to files that run without the trainer: export, and the description that goes with them.

This module imports nothing, so that a later runtime can live beside the exporter without torch.
"""
