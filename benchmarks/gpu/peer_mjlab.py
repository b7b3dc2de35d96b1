"""mjlab's side of the comparison: train one of its own tasks, the Go1 on flat ground, and print one JSON line.

    PYTHONPATH=<peer's site folder> python benchmarks/gpu/peer_mjlab.py --iterations 60
    PYTHONPATH=<peer's site folder> python benchmarks/gpu/peer_mjlab.py --write_mjcf go1.xml

The runner gets no log folder: it writes nothing, saves nothing and skips its own bookkeeping of episodes, which is to
its advantage. The GPU is waited for at two places in an iteration, before and after the update. The score is the mean
over all environments of the velocity-tracking reward at the last step of a rollout.
"""

import argparse
import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import os
import sys
import time
import types
from dataclasses import asdict
from pathlib import Path
from unittest.mock import MagicMock
from xml.etree import ElementTree

import measure

TASK = "Mjlab-Velocity-Flat-Unitree-Go1"
SCORE = "track_linear_velocity"
NOT_NEEDED = ("wandb", "viser", "mjviser", "mediapy", "torchrunx", "imageio_ffmpeg", "trimesh")
"""Viewers, video and cloud logging, which training only imports; stand-ins make it run without them."""
OPTIONS = (
    "timestep", "gravity", "integrator", "cone", "solver", "iterations", "ls_iterations", "tolerance", "ls_tolerance",
    "impratio", "ccd_iterations", "disableflags", "enableflags",
)  # fmt: skip
PACKAGES = ("mjlab", "rsl-rl-lib", "mujoco", "mujoco-warp", "warp-lang", "torch")


class StandIn(types.ModuleType):
    """A module in which every name exists: classes for capitalised names, else mocks."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (), {}) if name[0].isupper() else MagicMock()
        setattr(self, name, value)
        return value


class StandInFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a stand-in for each package in NOT_NEEDED."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] in NOT_NEEDED:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec):
        return StandIn(spec.name)

    def exec_module(self, module) -> None:
        pass


def write_mjcf(path: Path, device: str) -> None:
    """Write the task's model without meshes (none of them collides), sensors and colours."""
    from mjlab.scene import Scene
    from mjlab.tasks.registry import load_env_cfg

    cfg = load_env_cfg(TASK)
    cfg.scene.num_envs = 1
    spec = Scene(cfg.scene, device=device).spec
    compiled = spec.compile()
    cfg.sim.mujoco.apply(compiled)
    for name in OPTIONS:
        setattr(spec.option, name, getattr(compiled.opt, name))
    shown = [geom for geom in spec.geoms if geom.meshname]
    for element in [*spec.sensors, *shown, *spec.meshes]:
        spec.delete(element)
    spec.compile()
    root = ElementTree.fromstring(spec.to_xml())
    for element in list(root.iter()):
        element.attrib.pop("material", None)
        for child in list(element):
            unnamed = child.tag == "default" and not child.attrib and not len(child)  # written, but not read back
            if unnamed or child.tag == "asset":
                element.remove(child)
    ElementTree.indent(root)
    path.write_text(ElementTree.tostring(root, encoding="unicode"))


def train(args: argparse.Namespace) -> dict[str, object]:
    """Train for ``args.iterations`` and return what the JSON line holds."""
    import torch
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.rl import MjlabOnPolicyRunner, RslRlVecEnvWrapper
    from mjlab.tasks.registry import load_env_cfg, load_rl_cfg
    from mjlab.utils.torch import configure_torch_backends

    configure_torch_backends()
    cfg, agent = load_env_cfg(args.task), load_rl_cfg(args.task)
    cfg.scene.num_envs, cfg.seed, agent.seed = args.num_envs, args.seed, args.seed
    agent.actor.hidden_dims = agent.critic.hidden_dims = tuple(args.hidden_dims)
    torch.manual_seed(args.seed)
    env = ManagerBasedRlEnv(cfg=cfg, device=args.device)
    settings = {**asdict(agent), "logger": "tensorboard", "upload_model": False}
    runner = MjlabOnPolicyRunner(RslRlVecEnvWrapper(env, clip_actions=agent.clip_actions), settings, None, args.device)
    rewards = env.reward_manager
    column, weight = rewards.active_terms.index(SCORE), rewards.get_term_cfg(SCORE).weight
    wait = torch.cuda.synchronize if args.device.startswith("cuda") else (lambda: None)
    collection_ms: list[float] = []
    learn_ms: list[float] = []
    curve: list[tuple[float, float]] = []
    original_update = runner.alg.update
    mark = 0.0

    def timed_update():
        nonlocal mark
        wait()
        collected = time.perf_counter()
        result = original_update()
        wait()
        learned = time.perf_counter()
        collection_ms.append(1e3 * (collected - mark))
        learn_ms.append(1e3 * (learned - collected))
        curve.append((measure.process_age(), float(rewards._step_reward[:, column].mean()) / weight))
        mark = time.perf_counter()
        return result

    runner.alg.update = timed_update
    wait()
    mark = time.perf_counter()
    runner.learn(num_learning_iterations=args.iterations, init_at_random_ep_len=True)
    return {
        "side": "mjlab",
        "task": args.task,
        "num_envs": args.num_envs,
        "hidden_dims": args.hidden_dims,
        "seed": args.seed,
        **measure.report(args.num_envs * agent.num_steps_per_env, collection_ms, learn_ms),
        "first_iteration_done_s": round(curve[0][0], 2),
        "score_reached_s": measure.first_times(curve),
        "final_score": round(curve[-1][1], 4),
        "memory_mib": measure.memory_mib(torch),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "curve": [[round(t, 2), round(score, 4)] for t, score in curve],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default=TASK, help="a velocity task of mjlab")
    parser.add_argument("--num_envs", type=int, default=4096)
    parser.add_argument("--iterations", type=int, default=60)
    parser.add_argument("--hidden_dims", type=int, nargs="+", default=[512, 256, 128])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--write_mjcf", type=Path, metavar="FILE", help="write the task's model and leave")
    args = parser.parse_args()
    if args.iterations <= measure.WARM_UP:
        parser.error(f"--iterations must be more than {measure.WARM_UP}, which are not timed")
    os.environ.setdefault("MUJOCO_GL", "disable")
    os.environ.setdefault("MJLAB_WARP_QUIET", "1")
    sys.meta_path.insert(0, StandInFinder())
    import mjlab.tasks  # noqa: F401 - fills the peer's registry

    if args.write_mjcf:
        write_mjcf(args.write_mjcf, args.device)
        return
    print(json.dumps(train(args)), flush=True)


if __name__ == "__main__":
    main()
