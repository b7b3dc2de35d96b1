"""Ant: a torso on four legs of two joints, driven by torques."""

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="ant",
    source="our own; sizes, density, armature and damping of Gymnasium's Ant-v5",
    license="Apache-2.0",
    path=MJCF_DIR / "ant.xml",
)

ANT_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=ROBOT.spawn(),
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 0.5),  # feet 2 cm above the ground
        joint_pos={"hip_.*": 0.0, "ankle_.*": 0.785398},
    ),
    actuators={
        "body": ImplicitActuatorCfg(
            joint_names_expr=["hip_.*", "ankle_.*"],
            effort_limit=150.0,
            stiffness=0.0,
            damping=0.0,
        ),
    },
)
"""Torque control (N·m) of all eight joints; a full action of Ant-v5 is 150 N·m."""
