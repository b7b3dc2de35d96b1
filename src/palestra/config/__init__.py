"""Configuration: config classes, overrides from the command line and from YAML, and the task registry."""

from palestra.config.configclass import MISSING, Config, configclass, is_config, validate
from palestra.config.overrides import apply_overlay, apply_overrides, get_value, set_value
from palestra.config.registry import TaskSpec, load_agent_cfg, load_env_cfg, make, register, spec, task_ids
from palestra.config.yaml_io import dump_yaml, load_overlay, load_yaml_config

__all__ = [
    "MISSING",
    "Config",
    "TaskSpec",
    "apply_overlay",
    "apply_overrides",
    "configclass",
    "dump_yaml",
    "get_value",
    "is_config",
    "load_agent_cfg",
    "load_env_cfg",
    "load_overlay",
    "load_yaml_config",
    "make",
    "register",
    "set_value",
    "spec",
    "task_ids",
    "validate",
]
