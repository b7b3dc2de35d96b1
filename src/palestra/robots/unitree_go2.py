"""Unitree Go2: a quadruped of 15 kg with twelve joints."""

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="unitree_go2",
    source="numbers of unitreerobotics/unitree_mujoco (BSD-3-Clause); shapes our own",
    license="BSD-3-Clause",
    path=MJCF_DIR / "unitree_go2.xml",
)

UNITREE_GO2_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=ROBOT.spawn(),
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 0.4),
        joint_pos={
            ".*L_hip_joint": 0.1,
            ".*R_hip_joint": -0.1,
            "F[LR]_thigh_joint": 0.8,
            "R[LR]_thigh_joint": 1.0,
            ".*_calf_joint": -1.5,
        },
    ),
    soft_joint_pos_limit_factor=0.9,
    actuators={
        "base_legs": ImplicitActuatorCfg(
            joint_names_expr=[".*_hip_joint", ".*_thigh_joint", ".*_calf_joint"],
            effort_limit={".*_hip_joint": 23.7, ".*_thigh_joint": 23.7, ".*_calf_joint": 45.43},
            # The knee has the same motor behind a rod that trades speed for torque.
            velocity_limit={".*_hip_joint": 30.1, ".*_thigh_joint": 30.1, ".*_calf_joint": 15.7},
            stiffness=25.0,
            damping=0.5,
        ),
    },
)
"""Joint position control with the soft gains of walking policies; standing, the base sinks to 0.27 m."""
