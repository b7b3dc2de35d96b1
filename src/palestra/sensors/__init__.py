"""Sensors: contacts, IMU, frame transformer."""

from palestra.sensors.contact_sensor import ContactSensor, ContactSensorCfg, ContactSensorData
from palestra.sensors.frame_transformer import (
    FrameTransformer,
    FrameTransformerCfg,
    FrameTransformerData,
    OffsetCfg,
)
from palestra.sensors.imu import Imu, ImuCfg, ImuData
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
    "SensorBase",
    "SensorBaseCfg",
]
