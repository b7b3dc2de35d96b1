"""ANYbotics ANYmal C: a quadruped of 52 kg with twelve joints."""

from palestra.actuators import DCMotorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="anymal_c",
    source="numbers of the URDF in isaac-sim/IsaacGymEnvs (BSD-3-Clause); shapes our own",
    license="BSD-3-Clause",
    path=MJCF_DIR / "anymal_c.xml",
)

ANYDRIVE_3_SIMPLE_ACTUATOR_CFG = DCMotorCfg(
    joint_names_expr=[".*_HAA", ".*_HFE", ".*_KFE"],
    saturation_effort=120.0,
    effort_limit=80.0,
    velocity_limit=7.5,
    stiffness=85.0,
    damping=2.0,
)
"""A PD law cut by a DC motor's torque–speed line.

A stand-in: the drives are best described by a network trained on measurements of the real ones (Hwangbo et al. 2019),
which is not part of the published facts. The effort limit is the URDF's, the gains are those of IsaacGymEnvs, stall
torque and no-load speed those of Isaac Lab's actuator of this name. The URDF's 20 rad/s is a bound on the joint, which
the drive does not reach.
"""

ANYMAL_C_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=ROBOT.spawn(),
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 0.6),
        joint_pos={
            ".*_HAA": 0.0,
            ".*F_HFE": 0.4,
            ".*H_HFE": -0.4,
            ".*F_KFE": -0.8,
            ".*H_KFE": 0.8,
        },
    ),
    soft_joint_pos_limit_factor=0.95,
    actuators={"legs": ANYDRIVE_3_SIMPLE_ACTUATOR_CFG},
)
"""Joint position control through a model of the drives; standing, the base sinks to 0.5 m."""
