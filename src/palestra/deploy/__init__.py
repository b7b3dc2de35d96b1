"""From a checkpoint to files that run without the trainer, and on to a robot: export, and the contract of a robot.

This module imports nothing, so that the runtime lives beside the exporter without torch.
"""
