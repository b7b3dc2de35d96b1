"""Franka Panda: an arm of seven joints with a parallel gripper."""

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="franka_panda",
    source="numbers of MuJoCo Menagerie's franka_emika_panda (Apache-2.0); shapes our own",
    license="Apache-2.0",
    path=MJCF_DIR / "franka_panda.xml",
)

# Rated torques (N·m) and speeds (rad/s) of the maker's data sheet; the servos of the model's source allow
# 100 N·m on joints 1 to 4.
_SHOULDER_EFFORT, _SHOULDER_SPEED = 87.0, 2.175
_WRIST_EFFORT, _WRIST_SPEED = 12.0, 2.61


def _panda(stiffness: float, shoulder_damping: float, forearm_damping: float) -> ArticulationCfg:
    """Return the arm with servos of the given gains (N·m/rad, N·m·s/rad); the gripper keeps its own."""
    return ArticulationCfg(
        prim_path="{ENV_REGEX_NS}/Robot",
        spawn=ROBOT.spawn(),
        init_state=ArticulationCfg.InitialStateCfg(
            joint_pos={
                "joint1": 0.0,
                "joint2": -0.569,
                "joint3": 0.0,
                "joint4": -2.810,
                "joint5": 0.0,
                "joint6": 3.037,
                "joint7": 0.741,
                "finger_joint[12]": 0.04,
            },
        ),
        actuators={
            "panda_shoulder": ImplicitActuatorCfg(
                joint_names_expr=["joint[1-4]"],
                effort_limit=_SHOULDER_EFFORT,
                velocity_limit=_SHOULDER_SPEED,
                stiffness=stiffness,
                damping=shoulder_damping,
            ),
            "panda_forearm": ImplicitActuatorCfg(
                joint_names_expr=["joint[5-7]"],
                effort_limit=_WRIST_EFFORT,
                velocity_limit=_WRIST_SPEED,
                stiffness=stiffness,
                damping=forearm_damping,
            ),
            "panda_hand": ImplicitActuatorCfg(
                joint_names_expr=["finger_joint[12]"],
                effort_limit=200.0,
                velocity_limit=0.2,
                stiffness=2e3,
                damping=1e2,
            ),
        },
    )


FRANKA_PANDA_CFG = _panda(stiffness=400.0, shoulder_damping=80.0, forearm_damping=80.0)
"""Joint position control. The arm carries its own weight (gravity compensation), as the real one does."""

FRANKA_PANDA_VELOCITY_CFG = _panda(stiffness=0.0, shoulder_damping=40.0, forearm_damping=8.0)
"""Joint velocity control: the target is the joint speed (rad/s); one joint reaches 0.5 rad/s within 5 %."""
