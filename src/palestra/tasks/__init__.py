"""The shipped tasks. Registration only names modules; a task is imported when it is used."""

from collections.abc import Iterable

from palestra.config.registry import register
from palestra.integrations import OTHERS


def _task(
    id: str, module: str, description: str, entry_point: str | None = None, libraries: Iterable[str] = tuple(OTHERS)
) -> None:
    path = f"palestra.tasks.{module}"
    family = path.rpartition(".")[0]
    agent = id.removesuffix("-Direct").replace("-", "") + "AgentCfg"
    agents = {library: f"{family}.agents.{library}:{agent}" for library in libraries}
    kwargs = {} if entry_point is None else {"entry_point": f"{path}:{entry_point}"}
    register(
        id,
        env_cfg=f"{path}:EnvCfg",
        play_env_cfg=f"{path}:PlayEnvCfg",
        agent_cfgs={"palestra": f"{path}:AgentCfg", **agents},
        description=description,
        **kwargs,
    )


_task("Cartpole", "classic.cartpole", "balance a pole on a cart")
_task("Cartpole-Direct", "classic.cartpole_direct", "the same, written as one class", "CartpoleEnv")
_task(
    "Cartpole-NoVelocity",
    "classic.cartpole_no_velocity",
    "balance without seeing velocities, which takes memory",
    libraries=("rsl_rl", "skrl", "rl_games"),  # those with a CartpoleNoVelocityAgentCfg
)
_task("Ant", "classic.ant", "run forward on four legs")
_task("Reach-Franka", "manipulation.reach_franka", "bring the gripper to random points by joint velocities")
_task(
    "Reach-Franka-DR",
    "manipulation.reach_franka_dr",
    "reach with randomized masses, joints and motors, delays and sensor noise",
)
_task("Reach-Franka-Direct", "manipulation.reach_franka_direct", "the same, written as one class", "ReachFrankaEnv")
_task("Velocity-Flat-Go2", "locomotion.velocity_flat_go2", "follow commanded velocities on flat ground")
_task(
    "Velocity-Flat-Go2-DR",
    "locomotion.velocity_flat_go2_dr",
    "the same with randomized robots, ground, motors, delays and pushes",
)
_task("Velocity-Flat-AnymalC", "locomotion.velocity_flat_anymal_c", "the same for a heavier quadruped")
_task("Velocity-Flat-G1", "locomotion.velocity_flat_g1", "a humanoid learns in stages to follow velocities")
_task("Velocity-Flat-H1", "locomotion.velocity_flat_h1", "the same for a taller humanoid")
_task("Velocity-Rough-Go2", "locomotion.velocity_rough_go2", "follow commanded velocities over rough ground")
_task("Velocity-Rough-AnymalC", "locomotion.velocity_rough_anymal_c", "the same for a heavier quadruped")
