"""Assets: named views of one robot's or object's fields, and masked writers."""

from palestra.assets.articulation import Articulation
from palestra.assets.articulation_data import ArticulationData
from palestra.assets.asset_cfg import ArticulationCfg, AssetBaseCfg, RigidObjectCfg
from palestra.assets.rigid_object import RigidObject, RigidObjectData

__all__ = [
    "Articulation",
    "ArticulationCfg",
    "ArticulationData",
    "AssetBaseCfg",
    "RigidObject",
    "RigidObjectCfg",
    "RigidObjectData",
]
