"""Cartpole: a pole balanced on a cart that a force pushes along a rail."""

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.robots.info import MJCF_DIR, RobotInfo

ROBOT = RobotInfo(
    name="cartpole",
    source="our own; masses and pole length of Barto, Sutton and Anderson (1983), pole 1 m in all",
    license="Apache-2.0",
    path=MJCF_DIR / "cartpole.xml",
)

CARTPOLE_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=ROBOT.spawn(),
    init_state=ArticulationCfg.InitialStateCfg(
        pos=(0.0, 0.0, 2.0),
        joint_pos={"slider_to_cart": 0.0, "cart_to_pole": 0.0},
    ),
    actuators={
        "cart_actuator": ImplicitActuatorCfg(
            joint_names_expr=["slider_to_cart"],
            effort_limit=400.0,
            stiffness=0.0,
            damping=0.0,
        ),
    },
)
"""Force on the cart (N), none on the pole; the joints are zero with the cart centred and the pole upright."""
