"""From a checkpoint to files that run without the trainer, and to a robot: export, runtime, what a robot tells and takes.

This module imports nothing, so that a later runtime can live beside the exporter without torch.
"""
