"""Deliberately broken variants of a policy, by which the checks are checked: each must be caught by one of them.

None needs training. They break the export, the policy, the task, the log or the limits of a sound run; see
``benchmarks/deploy/mutants.py`` for the table mutant × check.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from palestra.deploy.audit.recording import robot_of
from palestra.deploy.audit.subject import LONGER, SIM2SIM, Subject
from palestra.deploy.export import export
from palestra.deploy.graph import PolicyGraph
from palestra.errors import PalestraError
from palestra.rl.reward_shares import SUM, reward_shares
from palestra.utils.math import quat_apply, yaw_quat

Make = Callable[[Subject, Path], Subject]
"""A sound subject and an empty folder to a broken subject."""


@dataclass(frozen=True)
class Mutant:
    """One way to be broken."""

    name: str
    breaks: str
    """What is wrong, in words."""

    checks: tuple[str, ...]
    """Checks of which at least one must fail."""

    make: Make
    suits: Callable[[Subject], bool] = lambda subject: True
    """Whether a run can be broken in this way."""


class Altered:
    """A policy whose actions, or whose graph, are changed on the way.

    Args:
        policy: the policy.
        actions: observations and its actions to what is done instead, called in each step.
        graph: its graph to another one.
    """

    def __init__(
        self,
        policy: Any,
        actions: Callable[[dict[str, Any], Tensor], Tensor] | None = None,
        graph: Callable[[PolicyGraph], PolicyGraph] | None = None,
    ) -> None:
        self._policy, self._actions, self._graph = policy, actions, graph

    def __call__(self, obs: dict[str, Any]) -> Tensor:
        actions = self._policy(obs)
        return actions if self._actions is None else self._actions(obs, actions)

    def reset(self, done: Tensor | None = None) -> None:
        """Forget, as the policy does."""
        reset = getattr(self._policy, "reset", None)
        if reset is not None:
            reset(done)

    def graph(self) -> PolicyGraph:
        """Return the changed graph."""
        graph = self._policy.graph()
        return graph if self._graph is None else self._graph(graph)


class _OfGraph:
    """A policy that does what a graph without memory says."""

    def __init__(self, graph: PolicyGraph) -> None:
        self._graph = graph

    @torch.no_grad()
    def __call__(self, obs: dict[str, Any]) -> Tensor:
        x = torch.cat([obs[name].cpu() for name in self._graph.groups], dim=-1)
        return self._graph(x)  # type: ignore[return-value]

    def graph(self) -> PolicyGraph:
        """Return the graph."""
        return self._graph


class _Permuted(nn.Module):
    """A network whose first outputs change places."""

    def __init__(self, network: nn.Module, order: list[int]) -> None:
        super().__init__()
        self.network, self.order = network, order

    def forward(self, x: Tensor, *memory: Tensor) -> Tensor:
        return self.network(x, *memory)[:, self.order]


"""Exports."""


ChangeGraph = Callable[[PolicyGraph], PolicyGraph]


def exported(
    subject: Subject, folder: Path, graph: ChangeGraph | None = None, env: dict[str, Any] | None = None
) -> Subject:
    """Export a subject, with another graph or from another environment, and return it with this export.

    The exporter is made to believe that the graph is the policy's; otherwise it would refuse.
    """
    cfg = copy.deepcopy(subject.env_cfg)
    for path, value in (env or {}).items():
        _set(cfg, path, value)
    policy = subject.policy if graph is None else _OfGraph(graph(subject.policy.graph()))
    (folder / "nn").mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "nn" / subject.checkpoint.name
    shutil.copyfile(subject.checkpoint, checkpoint)
    if subject.run is not None and (subject.run / "metrics.csv").is_file():
        shutil.copyfile(subject.run / "metrics.csv", folder / "metrics.csv")
    made = subject.make(cfg, 20)
    try:
        export(
            made,
            policy,
            subject.content,
            folder / "exported",
            task=subject.task,
            checkpoint=checkpoint,
            run=folder,
            seed=subject.options.seed,
            allow_privileged=True,
        )
    finally:
        made.close()
    return _variant(subject, checkpoint=checkpoint, run=folder)


def refused_by_export(subject: Subject, graph: Callable[[PolicyGraph], PolicyGraph], folder: Path) -> bool:
    """Return whether ``palestra export`` itself refuses a policy whose graph is broken in this way."""
    made = subject.make(copy.deepcopy(subject.env_cfg), 20)
    policy = Altered(subject.policy, graph=graph)
    try:
        where = {"task": subject.task, "checkpoint": subject.checkpoint, "seed": subject.options.seed}
        export(made, policy, subject.content, folder / "exported", **where, allow_privileged=True)
    except PalestraError:
        return True
    finally:
        made.close()
    return False


def without_normalizer(graph: PolicyGraph) -> PolicyGraph:
    """Return the graph without its normaliser."""
    return _graph_like(graph, graph.network, None)


def permuted(graph: PolicyGraph) -> PolicyGraph:
    """Return the graph with its actions in another order."""
    order = [*range(1, graph.num_actions), 0]
    return _graph_like(graph, _Permuted(graph.network, order), graph.normalizer)


def scale_path(cfg: Any) -> str | None:
    """Return the path of the first action term's scale, if it is a number."""
    for name, term in vars(cfg.actions).items() if hasattr(cfg, "actions") else ():
        if isinstance(getattr(term, "scale", None), int | float):
            return f"actions.{name}.scale"
    return None


def _double_scale(subject: Subject, folder: Path) -> Subject:
    path = scale_path(subject.env_cfg)
    assert path is not None
    return exported(subject, folder, env={path: 2.0 * float(_get(subject.env_cfg, path))})


def _wrong_period(subject: Subject, folder: Path) -> Subject:
    return exported(subject, folder, env={"decimation": 2 * subject.env_cfg.decimation})


def _altered_file(subject: Subject, folder: Path) -> Subject:
    assert subject.exported is not None
    shutil.copytree(subject.exported, folder / "exported")
    variant = _variant(subject, run=folder)
    path = folder / "exported" / "policy.onnx"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return variant


"""Policies."""


def _stand(subject: Subject, folder: Path) -> Subject:
    return _with_actions(subject, lambda obs, actions: torch.zeros_like(actions))


def vibrating(subject: Subject, amplitude: float = 1.0) -> Subject:
    """Return a subject whose policy adds an alternating action of this size to its own."""
    sign = [1.0]

    def act(obs: dict[str, Any], actions: Tensor) -> Tensor:
        sign[0] = -sign[0]
        return actions + amplitude * sign[0]

    return _with_actions(subject, act)


def _deaf(subject: Subject, folder: Path) -> Subject:
    """Give the policy the same velocity command whatever is commanded."""
    variant = _variant(subject)
    where = _command_places(subject)
    policy, groups = subject.policy, subject.groups

    def act(obs: dict[str, Any], actions: Tensor) -> Tensor:
        changed = {name: value.clone() for name, value in obs.items()}
        for group, start, values in where:
            changed[group][:, start : start + len(values)] = torch.tensor(values)
        return policy({name: changed[name] for name in (*groups, *(n for n in obs if n not in groups))})

    variant.policy = Altered(policy, act)
    return variant


def _posture(subject: Subject, poses: dict[str, float]) -> Subject:
    """Hold joints at positions (rad), by the ends of their names, the others at their defaults."""
    robot = robot_of(subject.env)
    assert robot is not None
    default = robot.data.default_joint_pos[0]
    target = default.clone()
    for index, name in enumerate(robot.joint_names):
        for part, value in poses.items():
            if name.startswith(part.split("*")[0]) and part.split("*")[1] in name:
                target[index] = value
    scale = float(_get(subject.env_cfg, str(scale_path(subject.env_cfg))))
    return _with_actions(subject, lambda obs, actions: ((target - default) / scale).expand_as(actions))


def _moved(subject: Subject, env: dict[str, Any] | None = None) -> Subject:
    """Let an unseen hand carry a robot that does nothing at the commanded velocity."""
    cfg = copy.deepcopy(subject.env_cfg)
    for path, value in (env or {}).items():
        _set(cfg, path, value)
    variant = _variant(subject, env_cfg=cfg)
    name, columns = next(iter(subject.velocity_commands.items()))

    def act(obs: dict[str, Any], actions: Tensor) -> Tensor:
        robot = robot_of(variant.env)
        assert robot is not None
        command = variant.env.command_manager.get_command(name)  # type: ignore[attr-defined]
        planar = torch.zeros(len(actions), 3)
        for axis, entry in enumerate(("lin_vel_x", "lin_vel_y")):
            if entry in columns:
                planar[:, axis] = command[:, columns[entry]]
        linear = quat_apply(yaw_quat(robot.data.root_quat_w), planar)
        linear[:, 2] = robot.data.root_lin_vel_w[:, 2]
        angular = robot.data.root_ang_vel_w.clone()
        if "ang_vel_z" in columns:
            angular[:, 2] = command[:, columns["ang_vel_z"]]
        robot.write_root_velocity_to_sim(torch.cat((linear, angular), dim=-1))
        return torch.zeros_like(actions)

    variant.policy = Altered(subject.policy, act)
    return variant


def _wearing_out(subject: Subject, folder: Path) -> Subject:
    """Return a policy whose actions fade away in the course of the endurance rollout."""
    steps, total = [0], LONGER * subject.env.max_episode_length

    def act(obs: dict[str, Any], actions: Tensor) -> Tensor:
        steps[0] += 1
        return actions * max(0.0, 1.0 - steps[0] / (0.9 * total))

    return _with_actions(subject, act)


"""Training, task, limits."""


def _untrained_normalizer(subject: Subject, folder: Path) -> Subject:
    variant = _variant(subject)

    def reset(graph: PolicyGraph) -> PolicyGraph:
        normalizer = copy.deepcopy(graph.normalizer)
        for name, buffer in normalizer.named_buffers() if normalizer is not None else ():
            buffer.fill_(0.0 if name.endswith("mean") else 1.01)
        return _graph_like(graph, graph.network, normalizer)

    variant.policy = Altered(subject.policy, graph=reset)
    return variant


def _one_reward(subject: Subject, folder: Path) -> Subject:
    """Make the log that the run would have if the second largest term had a thousand times the weight."""
    variant = _variant(subject)
    rows = copy.deepcopy(subject.metrics)
    last = next(row for row in reversed(rows) if any(key.startswith(SUM) for key in row))
    terms = sorted((key for key in last if key.startswith(SUM)), key=lambda key: abs(last[key]))
    for row in rows:
        if terms[-2] in row:
            row[terms[-2]] *= 1000.0
            row.update(reward_shares(row, {}))
    vars(variant)["metrics"] = rows
    return variant


def _first_stage(subject: Subject, folder: Path) -> Subject:
    content = copy.deepcopy(subject.content)
    for state in content["env_state"]["curriculum"].values():
        if "stage" in state:
            state["stage"] = 0 if isinstance(state["stage"], int) else torch.zeros_like(state["stage"])
    return _variant(subject, content=content)


def _measured_elsewhere(subject: Subject, folder: Path) -> Subject:
    robot = robot_of(subject.env)
    assert robot is not None
    mass = float(subject.env.scene.model.body_mass[robot.data.body_columns].sum())
    path = folder / "measured.yaml"
    path.write_text(f"total_mass: [{2.9 * mass}, {3.1 * mass}]\n", encoding="utf-8")
    return _variant(subject, options=dataclasses.replace(subject.options, measured=path))


def _wide_tracking(subject: Subject, folder: Path) -> Subject:
    """Make tracking so tolerant that standing still earns as much."""
    cfg = copy.deepcopy(subject.env_cfg)
    for term in vars(cfg.rewards).values():
        if getattr(term, "params", {}).get("std") is not None:
            term.params["std"] = 10.0
    return _variant(subject, env_cfg=cfg)


def _success_anywhere(subject: Subject, folder: Path) -> Subject:
    cfg = copy.deepcopy(subject.env_cfg)
    for term in vars(cfg.terminations).values():
        if getattr(term, "success", False) and "radius" in term.params:
            term.params["radius"] = 8.0 * term.params["radius"]
    return _variant(subject, env_cfg=cfg)


def _limits(subject: Subject, folder: Path, factor: float) -> Subject:
    robot = subject.exported_description["articulations"]["robot"]
    speeds = dict(zip(robot["joint_names"], robot["velocity_limits"], strict=True))
    path = folder / "limits.json"
    content = {"velocity_limits": {name: factor * v for name, v in speeds.items() if v is not None}}
    path.write_text(json.dumps(content), encoding="utf-8")
    return _variant(subject, options=dataclasses.replace(subject.options, limits=path))


def _failed_sim2sim(subject: Subject, folder: Path) -> Subject:
    path = folder / SIM2SIM
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"passed": False, "checkpoint": str(subject.checkpoint)}), encoding="utf-8")
    return _variant(subject, run=folder)


"""The list."""


def _exports(subject: Subject) -> bool:
    return bool(subject.exported_description.get("control_step"))


def _walks(subject: Subject) -> bool:
    return bool(subject.velocity_commands) and subject.legs is not None


def _quadruped(subject: Subject) -> bool:
    names = subject.described["articulations"].get("robot", {}).get("joint_names", [])
    return _walks(subject) and "RL_thigh_joint" in names and scale_path(subject.env_cfg) is not None


def _limited(subject: Subject) -> bool:
    robot = subject.exported_description.get("articulations", {}).get("robot", {})
    return any(v is not None for v in robot.get("velocity_limits", []))


def _staged(subject: Subject) -> bool:
    saved = (subject.content.get("env_state") or {}).get("curriculum", {})
    return any("stage" in state for state in saved.values())


def _has_radius(subject: Subject) -> bool:
    terms = vars(subject.env_cfg.terminations).values() if hasattr(subject.env_cfg, "terminations") else ()
    return any(getattr(t, "success", False) and "radius" in t.params for t in terms)


def _has_terms(subject: Subject) -> bool:
    """Whether at least two reward terms count at the end of the log."""
    rows = [row for row in subject.metrics if any(key.startswith(SUM) for key in row)]
    return bool(rows) and sum(abs(v) > 0.0 for key, v in rows[-1].items() if key.startswith(SUM)) >= 2


def _without_memory(subject: Subject) -> bool:
    return not subject.graph.memory


WEIGHTLESS = {"sim.gravity": (0.0, 0.0, 0.0), "scene.robot.init_state.pos": (0.0, 0.0, 1.0)}
"""What lets a robot hover."""

FOLDED = {"thigh": 1.4, "calf": -2.6}
"""Joints of a quadruped's leg that lies on its shank (rad)."""

OF_EXPORTS: tuple[Mutant, ...] = (
    Mutant(
        "normalizer-dropped",
        "the export lacks the observation normaliser",
        ("exported-files", "normalizer"),
        lambda s, f: exported(s, f, without_normalizer),
        lambda s: s.graph.normalizer is not None and _without_memory(s),
    ),
    Mutant(
        "joints-permuted",
        "the export gives each action to the next joint",
        ("exported-files", "runtime"),
        lambda s, f: exported(s, f, permuted),
        lambda s: s.graph.num_actions > 1 and _without_memory(s),
    ),
    Mutant(
        "action-scale-doubled",
        "the export moves targets twice as far",
        ("control-period", "runtime"),
        _double_scale,
        lambda s: scale_path(s.env_cfg) is not None,
    ),
    Mutant("wrong-period", "the export is for half the control rate", ("control-period",), _wrong_period),
    Mutant("file-altered", "one bit of policy.onnx is flipped", ("exported-files", "runtime"), _altered_file, _exports),
)
"""Mutants of the exported folder."""

OF_POLICIES: tuple[Mutant, ...] = (
    Mutant(
        "normalizer-untrained",
        "the normaliser has seen nothing",
        ("normalizer",),
        _untrained_normalizer,
        lambda s: s.graph.normalizer is not None,
    ),
    Mutant("stands-still", "zero actions, whatever is commanded", ("standing-still", "tracking"), _stand),
    Mutant("vibrates", "an action that alternates in each step is added", ("vibration",), lambda s, _: vibrating(s)),
    Mutant("deaf", "walks on, whatever is commanded", ("tracking",), _deaf, lambda s: bool(_command_places(s))),
    Mutant(
        "dives",
        "folds its front legs and falls on its nose",
        ("falling",),
        lambda s, _: _posture(s, {f"F*{joint}": angle for joint, angle in FOLDED.items()}),
        _quadruped,
    ),
    Mutant(
        "kneels",
        "sits on its shanks",
        ("ground-contact",),
        lambda s, _: _posture(s, {f"R*{joint}": angle for joint, angle in FOLDED.items()}),
        _quadruped,
    ),
    Mutant("slides", "tracks the command with feet that never lift", ("feet",), lambda s, _: _moved(s), _walks),
    Mutant(
        "hovers",
        "tracks the command without touching the ground",
        ("ground-contact",),
        lambda s, _: _moved(s, WEIGHTLESS),
        _walks,
    ),
    Mutant("wears-out", "its actions fade away within minutes", ("endurance",), _wearing_out),
)
"""Mutants of what the policy does."""

OF_TRAINING: tuple[Mutant, ...] = (
    Mutant("one-reward", "one term has a thousand times the weight", ("reward-shares",), _one_reward, _has_terms),
    Mutant("first-stage", "the curriculum is at its first stage", ("curriculum-stage",), _first_stage, _staged),
    Mutant("measured-elsewhere", "the robot is three times as heavy", ("randomization",), _measured_elsewhere),
    Mutant(
        "standing-pays",
        "tracking is so tolerant that standing earns as much",
        ("standing-still",),
        _wide_tracking,
        _walks,
    ),
    Mutant(
        "success-anywhere",
        "success is told at eight times the distance",
        ("success",),
        _success_anywhere,
        _has_radius,
    ),
    Mutant("fails-sim2sim", "another simulator disagrees", ("sim2sim",), _failed_sim2sim),
)
"""Mutants of the task, its log, and what else is known of the robot."""

OF_LIMITS: tuple[Mutant, ...] = (
    Mutant(
        "limits-too-wide",
        "the monitor allows three times the speed",
        ("safety-limits",),
        lambda s, f: _limits(s, f, 3.0),
        _limited,
    ),
    Mutant(
        "limits-too-narrow",
        "the monitor allows a tenth of the speed",
        ("safety-nominal",),
        lambda s, f: _limits(s, f, 0.1),
        _limited,
    ),
)
"""Mutants of the safety monitor."""

MUTANTS = (*OF_EXPORTS, *OF_POLICIES, *OF_TRAINING, *OF_LIMITS)
"""All mutants; :func:`privileged_group` makes one more."""


def privileged_group(subject: Subject) -> Subject | None:
    """Return the policy as it would be with the critic's observations: a fresh network on them.

    Returns:
        None if the critic sees the same, or another library trained it.
    """
    groups = subject.content.get("obs_groups", {})
    sees_the_same = "actor" not in groups or groups.get("critic") in (None, groups["actor"])
    if sees_the_same or "actor_state_dict" not in subject.content:
        return None
    from palestra.rl.config import ModelCfg
    from palestra.rl.networks import Actor
    from palestra.rl.policy import policy_of

    content = dict(subject.content)
    content["obs_groups"] = {**groups, "actor": groups["critic"]}
    width = sum(content["observation_dims"][name] for name in groups["critic"])
    actor = Actor(width, content["num_actions"], ModelCfg(**content["config"]["actor"]))
    content["actor_state_dict"] = actor.state_dict()
    return _variant(subject, content=content, policy=policy_of(content))


def _variant(subject: Subject, **changes: Any) -> Subject:
    """Return a subject of its own, with changes; it shares no recording."""
    return dataclasses.replace(subject, **changes)


def _with_actions(subject: Subject, act: Callable[[dict[str, Any], Tensor], Tensor]) -> Subject:
    return _variant(subject, policy=Altered(subject.policy, act))


def _graph_like(graph: PolicyGraph, network: nn.Module, normalizer: Any) -> PolicyGraph:
    return PolicyGraph(
        network,
        graph.groups,
        graph.obs_dim,
        graph.num_actions,
        normalizer=normalizer,
        obs_limit=graph.obs_limit,
        action_limit=graph.action_limit,
        memory=graph.memory,
    )


def _command_places(subject: Subject) -> list[tuple[str, int, list[float]]]:
    """Return group, first entry and constant values of each observation of a velocity command."""
    places = []
    for group in subject.groups:
        for term in subject.described["observations"][group]["terms"]:
            names = [entry["name"].rsplit("/", 1)[-1] for entry in term["entries"]]
            if names[:1] == ["lin_vel_x"] and term["scale"] is None and "command" in term["func"]:
                places.append((group, term["slice"][0], [0.6 if n == "lin_vel_x" else 0.0 for n in names]))
    return places


def _get(cfg: Any, path: str) -> Any:
    for name in path.split("."):
        cfg = getattr(cfg, name)
    return cfg


def _set(cfg: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    holder = _get(cfg, ".".join(parents)) if parents else cfg
    setattr(holder, last, value)
