"""Managers: they turn lists of configured terms into actions, observations, rewards, terminations, events …"""

from palestra.managers.action_manager import ActionManager, ActionTerm
from palestra.managers.command_manager import CommandManager, CommandTerm
from palestra.managers.curriculum_manager import CurriculumManager
from palestra.managers.event_manager import EventManager
from palestra.managers.manager_base import ManagerBase, ManagerTermBase
from palestra.managers.observation_manager import ObservationManager
from palestra.managers.recorder_manager import RecorderManager, RecorderTerm
from palestra.managers.reward_manager import RewardManager
from palestra.managers.scene_entity_cfg import SceneEntityCfg
from palestra.managers.term_cfg import (
    ActionTermCfg,
    CommandTermCfg,
    CurriculumTermCfg,
    EventTermCfg,
    ManagerTermBaseCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RecorderManagerBaseCfg,
    RecorderTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from palestra.managers.termination_manager import TerminationManager

__all__ = [
    "ActionManager",
    "ActionTerm",
    "ActionTermCfg",
    "CommandManager",
    "CommandTerm",
    "CommandTermCfg",
    "CurriculumManager",
    "CurriculumTermCfg",
    "EventManager",
    "EventTermCfg",
    "ManagerBase",
    "ManagerTermBase",
    "ManagerTermBaseCfg",
    "ObservationGroupCfg",
    "ObservationManager",
    "ObservationTermCfg",
    "RecorderManager",
    "RecorderManagerBaseCfg",
    "RecorderTerm",
    "RecorderTermCfg",
    "RewardManager",
    "RewardTermCfg",
    "SceneEntityCfg",
    "TerminationManager",
    "TerminationTermCfg",
]
