"""From a checkpoint to files that run without the trainer, and on to a robot: export, and the contract of a robot.

This module imports nothing, so that a later runtime can live beside the exporter without torch.
"""
