"""EnvPool's Ant-v5 against a Palestra environment of the same task on the same model file.

    pip install envpool==1.2.5
    python benchmarks/cpu/ant_envpool.py --num_envs 256 --threads 2

Both sides: EnvPool's own ``ant.xml`` (RK4, 10 ms), five physics steps a control step, MuJoCo's default solver limits,
motors of ±150 N·m, 105 observations (``qpos[2:]``, ``qvel``, contact wrenches ``cfrc_ext`` clipped to ±1 of all bodies
but the world), rewards (forward speed + healthy − control cost − contact cost), termination outside 0.2 m < z < 1 m,
1000 steps at most, reset noise 0.1, uniformly random actions drawn beforehand. They run in turns in one process; the
medians of the repeats are compared. Target: ratio ≥ 1.0. ``bare_batch`` is ``mujoco.batch.Batch`` stepping Palestra's
model with nothing around it.

Differences that remain:

- Each side has the MuJoCo that it ships with.
- EnvPool computes ``cfrc_ext`` once, after the five steps. The batch engine does it only as a by-product of a sensor,
  so an accelerometer is added to the torso here; it is evaluated in each of the five steps, at the start of the step.
  ``bare_batch_no_sensor`` shows what that costs.
- EnvPool returns float64 and lets a finished environment reset in a step of its own, which is counted as a step;
  Palestra returns float32, resets within the step, and returns the observations before the reset too.
- Palestra replaces the file's motors by its own with the same torque; the order of the actions differs.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import palestra  # noqa: F401  # isort: skip  # before PyTorch, so that its idle threads sleep

import envpool
import envpool_assets
import mujoco
import numpy as np
import torch
from mujoco.batch import Batch
from torch import Tensor

from palestra.actuators import ImplicitActuatorCfg
from palestra.assets import ArticulationCfg
from palestra.envs import ManagerBasedRLEnv, ManagerBasedRLEnvCfg, mdp
from palestra.managers import (
    EventTermCfg,
    ObservationGroupCfg,
    ObservationTermCfg,
    RewardTermCfg,
    TerminationTermCfg,
)
from palestra.scene import InteractiveSceneCfg
from palestra.sim import SimulationCfg, SpecCfg
from palestra.utils import configclass

ANT = Path(envpool_assets.__file__).parent / "mujoco" / "assets_gym" / "ant.xml"
FRAME_SKIP = 5
STEP_DT = 0.01 * FRAME_SKIP
NOISE = 0.1


def ant_spec() -> mujoco.MjSpec:
    """EnvPool's model, with a sensor that makes the engine compute ``cfrc_ext``."""
    spec = mujoco.MjSpec.from_file(str(ANT))
    spec.body("torso").add_site(name="imu")
    spec.add_sensor(
        name="rne", type=mujoco.mjtSensor.mjSENS_ACCELEROMETER, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="imu"
    )
    return spec


def qpos_without_xy(env: Any) -> Tensor:
    return env.engine.field("qpos")[:, 2:]


def qvel(env: Any) -> Tensor:
    return env.engine.field("qvel")


def contact_wrenches(env: Any) -> Tensor:
    return env.engine.field("cfrc_ext")[:, 1:].flatten(1).clamp(-1.0, 1.0)


def forward_speed(env: Any) -> Tensor:
    x = env.engine.field("qpos")[:, 0]
    speed = (x - env.x_before) / env.step_dt
    env.x_before.copy_(x)
    return speed


def healthy(env: Any) -> Tensor:
    return (~unhealthy(env)).to(torch.float32)


def control_cost(env: Any) -> Tensor:
    return env.action_manager.action.square().sum(dim=-1)


def contact_cost(env: Any) -> Tensor:
    return contact_wrenches(env).square().sum(dim=-1)


def unhealthy(env: Any) -> Tensor:
    z = env.engine.field("qpos")[:, 2]
    return (z < 0.2) | (z > 1.0)  # states that are not finite are terminated by the environment itself


def reset_with_noise(env: Any, env_mask: Tensor) -> None:
    model = env.engine.model
    qpos0 = torch.as_tensor(model.qpos0, dtype=torch.float32)
    qpos = qpos0 + env.rng.uniform(-NOISE, NOISE, (model.nq,))
    env.engine.write("qpos", qpos, env_mask)
    env.engine.write("qvel", env.rng.normal(0.0, NOISE, (model.nv,)), env_mask)
    env.x_before = torch.where(env_mask, qpos[:, 0], getattr(env, "x_before", qpos[:, 0]))


@configclass
class SceneCfg(InteractiveSceneCfg):
    robot: ArticulationCfg = ArticulationCfg(
        spawn=SpecCfg(func=ant_spec),
        init_state=ArticulationCfg.InitialStateCfg(  # overwritten by the reset event
            pos=(0.0, 0.0, 0.75),
            joint_pos={"hip_.*": 0.0, "ankle_[14]": 1.0, "ankle_[23]": -1.0},
        ),
        actuators={"legs": ImplicitActuatorCfg(joint_names_expr=["hip_.*", "ankle_.*"], effort_limit=150.0)},
    )


@configclass
class ActionsCfg:
    torque = mdp.JointEffortActionCfg(asset_name="robot", joint_names=[".*"], scale=150.0)


@configclass
class ObservationsCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        qpos = ObservationTermCfg(func=qpos_without_xy)
        qvel = ObservationTermCfg(func=qvel)
        contacts = ObservationTermCfg(func=contact_wrenches)

    policy: PolicyCfg = PolicyCfg()


@configclass
class RewardsCfg:  # a term counts weight × step_dt
    forward = RewardTermCfg(func=forward_speed, weight=1.0 / STEP_DT)
    healthy = RewardTermCfg(func=healthy, weight=1.0 / STEP_DT)
    control = RewardTermCfg(func=control_cost, weight=-0.5 / STEP_DT)
    contact = RewardTermCfg(func=contact_cost, weight=-5e-4 / STEP_DT)


@configclass
class TerminationsCfg:
    time_out = TerminationTermCfg(func=mdp.time_out, time_out=True)
    unhealthy = TerminationTermCfg(func=unhealthy)


@configclass
class EventsCfg:
    reset = EventTermCfg(func=reset_with_noise, mode="reset")


@configclass
class EnvCfg(ManagerBasedRLEnvCfg):
    sim: SimulationCfg = SimulationCfg(dt=0.01, integrator="rk4", iterations=100, ls_iterations=50)
    decimation: int = FRAME_SKIP
    episode_length_s: float = 1000 * STEP_DT
    scene: SceneCfg = SceneCfg(num_envs=256)
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()


def same_physics(model: mujoco.MjModel) -> list[str]:
    """Fields in which Palestra's compiled model differs from EnvPool's file."""
    other = mujoco.MjModel.from_xml_path(str(ANT))
    fields = ["body_mass", "body_inertia", "dof_armature", "dof_damping", "jnt_range", "qpos0", "geom_size"]
    fields += ["geom_friction", "geom_margin", "geom_solref", "geom_solimp", "geom_contype", "geom_conaffinity"]
    options = ["timestep", "integrator", "solver", "cone", "iterations", "ls_iterations", "tolerance", "impratio"]
    differs = [f for f in fields if not np.array_equal(getattr(model, f), getattr(other, f))]
    return differs + [f for f in options if getattr(model.opt, f) != getattr(other.opt, f)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_envs", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40, help="control steps in a repeat")
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    n = args.num_envs

    cfg = EnvCfg()
    cfg.scene.num_envs, cfg.sim.threads, cfg.seed = n, args.threads, 0
    env = ManagerBasedRLEnv(cfg)
    env.reset()
    pool = envpool.make_gymnasium("Ant-v5", num_envs=n, num_threads=args.threads, seed=0)
    pool.reset()

    draws = np.random.default_rng(0).uniform(-1.0, 1.0, (16, n, 8))
    tensors = torch.as_tensor(draws, dtype=torch.float32)
    count = {"envpool": 0, "palestra": 0, "bare_batch": 0, "bare_batch_no_sensor": 0}
    ends = {"envpool": 0, "palestra": 0}
    rewards: dict[str, list[float]] = {"envpool": [], "palestra": []}
    contacts: dict[str, list[float]] = {"envpool": [], "palestra": []}

    def step_palestra(k: int) -> None:
        obs, reward, terminated, truncated, _ = env.step(tensors[k % 16])
        assert obs["policy"].shape == (n, 105)
        ends["palestra"] += int((terminated | truncated).sum())
        rewards["palestra"].append(float(reward.mean()))
        contacts["palestra"].append(float(obs["policy"][0, 27:].abs().mean()))

    def step_envpool(k: int) -> None:
        obs, reward, terminated, truncated, _ = pool.step(draws[k % 16])
        assert obs.shape == (n, 105)
        ends["envpool"] += int((terminated | truncated).sum())
        rewards["envpool"].append(float(reward.mean()))
        contacts["envpool"].append(float(np.abs(obs[0, 27:]).mean()))

    def bare(model: mujoco.MjModel, scale: float) -> Callable[[int], None]:
        batch = Batch(model, n, args.threads)
        qpos, ctrl = batch.bind("qpos"), batch.bind("ctrl")
        batch.reset()
        qpos[:] = env.engine.field("qpos").double().numpy()

        def step(k: int) -> None:
            ctrl[:] = scale * draws[k % 16]
            batch.step(nstep=FRAME_SKIP, stage=int(mujoco.mjtStage.mjSTAGE_VEL))

        return step

    sides: dict[str, Callable[[int], None]] = {
        "envpool": step_envpool,
        "palestra": step_palestra,
        "bare_batch": bare(env.engine.model, 150.0),
        "bare_batch_no_sensor": bare(mujoco.MjModel.from_xml_path(str(ANT)), 1.0),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(args.repeats + 1):  # the first one warms up
        for name, step in sides.items():
            start = time.perf_counter()
            for _ in range(args.steps):
                step(count[name])
                count[name] += 1
            if repeat:
                times[name].append((time.perf_counter() - start) / args.steps)
    rates = {name: n / statistics.median(values) for name, values in times.items()}
    ratios = [a / b for a, b in zip(times["envpool"], times["palestra"], strict=True)]
    result = {
        "num_envs": n,
        "threads": args.threads,
        "repeats": args.repeats,
        "steps_per_s": {name: round(rate) for name, rate in rates.items()},
        "spread": {name: [round(n / max(v)), round(n / min(v))] for name, v in times.items()},
        "ratio_palestra_to_envpool": round(rates["palestra"] / rates["envpool"], 3),
        "ratio_of_each_repeat": [round(ratio, 3) for ratio in ratios],
        "ratio_palestra_to_bare_batch": round(rates["palestra"] / rates["bare_batch"], 3),
        "ended_episodes_per_1000_steps": {k: round(1000 * v / (count[k] * n), 2) for k, v in ends.items()},
        "mean_reward": {k: round(statistics.mean(v), 3) for k, v in rewards.items()},
        "mean_abs_contact_observation_of_env_0": {k: round(statistics.mean(v), 4) for k, v in contacts.items()},
        "model_fields_that_differ": same_physics(env.engine.model),
        "versions": {"envpool": envpool.__version__, "mujoco": mujoco.__version__, "torch": torch.__version__},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
