"""Sensors: contacts, IMU, frame transformer, ray caster."""

from palestra.sensors import patterns
from palestra.sensors.contact_sensor import ContactSensor, ContactSensorCfg, ContactSensorData
from palestra.sensors.frame_transformer import (
    FrameTransformer,
    FrameTransformerCfg,
    FrameTransformerData,
    OffsetCfg,
)
from palestra.sensors.imu import Imu, ImuCfg, ImuData
from palestra.sensors.ray_caster import RayCaster, RayCasterCfg, RayCasterData
from palestra.sensors.sensor_base import SensorBase, SensorBaseCfg

__all__ = [
    "ContactSensor",
    "ContactSensorCfg",
    "ContactSensorData",
    "FrameTransformer",
    "FrameTransformerCfg",
    "FrameTransformerData",
    "Imu",
    "ImuCfg",
    "ImuData",
    "OffsetCfg",
    "RayCaster",
    "RayCasterCfg",
    "RayCasterData",
    "SensorBase",
    "SensorBaseCfg",
    "patterns",
]
