"""The shipped tasks. Registration only names modules; a task is imported when it is used."""

from palestra.config.registry import register


def _task(id: str, module: str, description: str, entry_point: str | None = None) -> None:
    path = f"palestra.tasks.{module}"
    kwargs = {} if entry_point is None else {"entry_point": f"{path}:{entry_point}"}
    register(
        id,
        env_cfg=f"{path}:EnvCfg",
        play_env_cfg=f"{path}:PlayEnvCfg",
        agent_cfgs={"palestra": f"{path}:AgentCfg"},
        description=description,
        **kwargs,
    )


_task("Cartpole", "classic.cartpole", "balance a pole on a cart")
_task("Cartpole-Direct", "classic.cartpole_direct", "the same, written as one class", "CartpoleEnv")
_task("Ant", "classic.ant", "run forward on four legs")
_task("Reach-Franka", "manipulation.reach_franka", "bring the gripper to random points by joint velocities")
_task("Reach-Franka-Direct", "manipulation.reach_franka_direct", "the same, written as one class", "ReachFrankaEnv")
_task("Velocity-Flat-Go2", "locomotion.velocity_flat_go2", "follow commanded velocities on flat ground")
