"""Unitree G1: a humanoid of 35 kg with 29 joints."""

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="unitree_g1",
    source="numbers of unitreerobotics/unitree_mujoco (BSD-3-Clause), 29 joints; shapes but the feet our own",
    license="BSD-3-Clause",
    path=MJCF_DIR / "unitree_g1.xml",
)

UNITREE_G1_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=ROBOT.spawn(),
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 0.76),
        joint_pos={
            ".*_hip_pitch_joint": -0.312,
            ".*_hip_roll_joint": 0.0,
            ".*_hip_yaw_joint": 0.0,
            ".*_knee_joint": 0.669,
            ".*_ankle_pitch_joint": -0.363,
            ".*_ankle_roll_joint": 0.0,
            "waist_.*_joint": 0.0,
            ".*_shoulder_pitch_joint": 0.2,
            "left_shoulder_roll_joint": 0.2,
            "right_shoulder_roll_joint": -0.2,
            ".*_shoulder_yaw_joint": 0.0,
            ".*_elbow_joint": 0.6,
            ".*_wrist_.*_joint": 0.0,
        },
    ),
    soft_joint_pos_limit_factor=0.9,
    actuators={
        "legs": ImplicitActuatorCfg(
            joint_names_expr=[".*_hip_.*_joint", ".*_knee_joint"],
            effort_limit={".*_hip_.*_joint": 88.0, ".*_knee_joint": 139.0},
            velocity_limit={".*_hip_.*_joint": 32.0, ".*_knee_joint": 20.0},
            stiffness={".*_hip_(yaw|roll)_joint": 150.0, ".*_hip_pitch_joint": 200.0, ".*_knee_joint": 200.0},
            damping=5.0,
        ),
        "feet": ImplicitActuatorCfg(
            joint_names_expr=[".*_ankle_.*_joint"],
            effort_limit=50.0,
            velocity_limit=37.0,
            stiffness=200.0,
            damping=4.0,
        ),
        "waist": ImplicitActuatorCfg(
            joint_names_expr=["waist_.*_joint"],
            effort_limit={"waist_yaw_joint": 88.0, "waist_(roll|pitch)_joint": 50.0},
            velocity_limit={"waist_yaw_joint": 32.0, "waist_(roll|pitch)_joint": 37.0},
            stiffness=200.0,
            damping=5.0,
        ),
        "arms": ImplicitActuatorCfg(
            joint_names_expr=[".*_shoulder_.*_joint", ".*_elbow_joint", ".*_wrist_.*_joint"],
            effort_limit={
                ".*_(shoulder_pitch|shoulder_roll|shoulder_yaw|elbow|wrist_roll)_joint": 25.0,
                ".*_wrist_(pitch|yaw)_joint": 5.0,
            },
            velocity_limit={
                ".*_(shoulder_pitch|shoulder_roll|shoulder_yaw|elbow|wrist_roll)_joint": 37.0,
                ".*_wrist_(pitch|yaw)_joint": 22.0,
            },
            stiffness=40.0,
            damping=2.0,
        ),
    },
)
"""Joint position control that holds the slightly crouched pose without a policy.

Standing still is stable only if ankles, knees and hips together are stiffer than the robot's weight times the height of
its centre of mass (35 kg · 9.81 m/s² · 0.69 m = 240 N·m/rad). The soft ankles of many walking policies, of 20 to
40 N·m/rad, are not.
"""
