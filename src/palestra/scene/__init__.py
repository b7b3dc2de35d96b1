"""The interactive scene: one MuJoCo spec assembled from assets, ground and sensors."""

from palestra.scene.interactive_scene import InteractiveScene
from palestra.scene.interactive_scene_cfg import InteractiveSceneCfg

__all__ = ["InteractiveScene", "InteractiveSceneCfg"]
