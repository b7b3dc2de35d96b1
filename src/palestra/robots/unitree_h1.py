"""Unitree H1: a humanoid of 52 kg with 19 joints."""

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="unitree_h1",
    source="numbers of unitreerobotics/unitree_mujoco (BSD-3-Clause); shapes our own",
    license="BSD-3-Clause",
    path=MJCF_DIR / "unitree_h1.xml",
)

UNITREE_H1_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=ROBOT.spawn(),
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 1.01),
        joint_pos={
            ".*_hip_yaw_joint": 0.0,
            ".*_hip_roll_joint": 0.0,
            ".*_hip_pitch_joint": -0.2,
            ".*_knee_joint": 0.6,
            ".*_ankle_joint": -0.43,
            "torso_joint": 0.0,
            ".*_shoulder_pitch_joint": 0.2,
            ".*_shoulder_(roll|yaw)_joint": 0.0,
            ".*_elbow_joint": 0.3,
        },
    ),
    soft_joint_pos_limit_factor=0.9,
    actuators={
        "legs": ImplicitActuatorCfg(
            joint_names_expr=[".*_hip_.*_joint", ".*_knee_joint", "torso_joint"],
            effort_limit={".*_hip_.*_joint": 200.0, ".*_knee_joint": 300.0, "torso_joint": 200.0},
            velocity_limit={".*_hip_.*_joint": 23.0, ".*_knee_joint": 14.0, "torso_joint": 23.0},
            stiffness={
                ".*_hip_(yaw|roll)_joint": 200.0,
                ".*_hip_pitch_joint": 400.0,
                ".*_knee_joint": 400.0,
                "torso_joint": 300.0,
            },
            damping=8.0,
        ),
        "feet": ImplicitActuatorCfg(
            joint_names_expr=[".*_ankle_joint"], effort_limit=40.0, velocity_limit=9.0, stiffness=500.0, damping=4.0
        ),
        "arms": ImplicitActuatorCfg(
            joint_names_expr=[".*_shoulder_.*_joint", ".*_elbow_joint"],
            effort_limit={
                ".*_shoulder_(pitch|roll)_joint": 40.0,
                ".*_shoulder_yaw_joint": 18.0,
                ".*_elbow_joint": 18.0,
            },
            velocity_limit={
                ".*_shoulder_(pitch|roll)_joint": 9.0,
                ".*_shoulder_yaw_joint": 20.0,
                ".*_elbow_joint": 20.0,
            },
            stiffness=40.0,
            damping=4.0,
        ),
    },
)
"""Joint position control that holds the slightly crouched pose without a policy.

Standing still is stable only if ankles, knees and hips together are stiffer than the robot's weight times the height of
its centre of mass (52 kg · 9.81 m/s² · 0.96 m = 490 N·m/rad): hence the stiff gains, within the effort limits.
"""
