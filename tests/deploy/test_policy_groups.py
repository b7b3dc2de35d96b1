"""Which observations an exported policy takes: the actor's groups in their order, and nothing of the critic's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tiny import STEP_DT, TinyEnvCfg, step_count

from palestra.deploy.export import export
from palestra.envs import ManagerBasedRLEnv, mdp
from palestra.integrations import make_trainer, policy_of
from palestra.integrations.rl_games import CentralValueCfg, RlGamesRunnerCfg
from palestra.integrations.rsl_rl import RslRlMLPModelCfg, RslRlOnPolicyRunnerCfg
from palestra.integrations.skrl import SkrlRunnerCfg
from palestra.managers import ObservationGroupCfg, ObservationTermCfg
from palestra.rl import ModelCfg, PPORunnerCfg
from palestra.rl.checkpoint import load_checkpoint
from palestra.rl.distributed import ALONE
from palestra.utils import configclass


@configclass
class GroupsCfg:
    @configclass
    class PolicyCfg(ObservationGroupCfg):
        joint_pos = ObservationTermCfg(func=mdp.joint_pos, history_length=2)

    @configclass
    class ExtraCfg(ObservationGroupCfg):
        joint_vel = ObservationTermCfg(func=mdp.joint_vel, scale=0.5)

    @configclass
    class CriticCfg(ObservationGroupCfg):
        age = ObservationTermCfg(func=step_count)

    policy: PolicyCfg = PolicyCfg()
    extra: ExtraCfg = ExtraCfg()
    critic: CriticCfg = CriticCfg()


def small_env() -> ManagerBasedRLEnv:
    cfg = TinyEnvCfg(observations=GroupsCfg(), episode_length_s=6 * STEP_DT)
    cfg.scene.num_envs = 8
    return ManagerBasedRLEnv(cfg)


GROUPS = {"actor": ["extra", "policy"], "critic": ["policy", "critic"]}


def palestra_cfg() -> Any:
    nets = {"actor": ModelCfg(hidden_dims=[8]), "critic": ModelCfg(hidden_dims=[8])}
    return PPORunnerCfg(num_steps_per_env=4, max_iterations=1, obs_groups=GROUPS, **nets)


def rsl_rl_cfg() -> Any:
    gaussian = RslRlMLPModelCfg.GaussianDistributionCfg()
    nets = {
        "actor": RslRlMLPModelCfg(hidden_dims=[8], distribution_cfg=gaussian),
        "critic": RslRlMLPModelCfg(hidden_dims=[8]),
    }
    return RslRlOnPolicyRunnerCfg(num_steps_per_env=4, max_iterations=1, obs_groups=GROUPS, **nets)


def skrl_cfg(policy_sees: str = "OBSERVATIONS") -> Any:
    cfg = SkrlRunnerCfg(max_iterations=1, obs_groups={"observations": ["extra", "policy"], "states": ["critic"]})
    cfg.agent.rollouts = 4
    cfg.agent.observation_preprocessor = cfg.agent.state_preprocessor = "RunningStandardScaler"
    cfg.models.policy.network[0].layers = cfg.models.value.network[0].layers = [8]
    cfg.models.policy.network[0].input = policy_sees
    cfg.models.value.network[0].input = "concatenate([OBSERVATIONS, STATES])"
    return cfg


def rl_games_cfg() -> Any:
    cfg = RlGamesRunnerCfg(max_iterations=1)
    cfg.params.network.mlp.units = [8]
    cfg.params.config.horizon_length = 4
    cfg.params.config.central_value_config = CentralValueCfg()
    cfg.params.env.obs_groups = {"obs": ["extra", "policy"], "states": ["policy", "critic"]}
    return cfg


def exported(
    library: str, cfg: Any, folder: Path, allow_privileged: bool = False
) -> tuple[dict[str, Any], onnxruntime.InferenceSession, Any]:
    """Train for an iteration, export, and return the description, the ONNX file and the checkpoint's policy."""
    env, checkpoint = small_env(), folder / "checkpoint.pth"
    trainer: Any = make_trainer(library, env, cfg, "Small", ALONE)
    trainer.console.quiet = True
    trainer.learn()
    trainer.save(checkpoint)
    content = load_checkpoint(checkpoint)
    told = export(
        env,
        policy_of(content),
        content,
        folder / "out",
        task="Small",
        checkpoint=checkpoint,
        seed=3,
        allow_privileged=allow_privileged,
    )
    env.close()
    assert told == json.loads((folder / "out" / "policy.json").read_text())
    file = folder / "out" / "actor.onnx"
    return told, onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]), policy_of(content)


LEARNERS = {"palestra": palestra_cfg, "rsl_rl": rsl_rl_cfg, "skrl": skrl_cfg, "rl_games": rl_games_cfg}


@pytest.mark.parametrize("library", LEARNERS)
def test_the_actors_groups_in_their_order_and_none_of_the_critics(library, tmp_path):
    told, session, policy = exported(library, LEARNERS[library](), tmp_path)
    (entry,) = session.get_inputs()
    assert entry.name == "obs" and entry.shape == ["batch", 3]
    observations = told["observations"]
    assert observations["width"] == 3
    assert [(g["name"], g["slice"]) for g in observations["groups"]] == [("extra", [0, 1]), ("policy", [1, 3])]
    (vel,), (pos,) = (group["terms"] for group in observations["groups"])
    assert (vel["slice"], vel["scale"], vel["entries"][0]["index"]) == ([0, 1], 0.5, 0)
    assert pos["slice"] == [1, 3] and pos["history"] == 2
    # the oldest value first
    assert [(e["index"], e["name"], e["age"]) for e in pos["entries"]] == [
        (1, "joint_pos/swing", 1),
        (2, "joint_pos/swing", 0),
    ]
    groups = {"extra": torch.randn(5, 1), "policy": torch.randn(5, 2), "critic": torch.randn(5, 1)}
    obs = torch.cat([groups["extra"], groups["policy"]], dim=1)
    found = torch.from_numpy(session.run(None, {"obs": obs.numpy()})[0])
    torch.testing.assert_close(found, policy(groups), rtol=1e-5, atol=1e-5)


def test_states_that_skrls_policy_itself_sees_are_part_of_its_input(tmp_path):
    told, session, policy = exported("skrl", skrl_cfg("concatenate([OBSERVATIONS, STATES])"), tmp_path, True)
    assert [g["name"] for g in told["observations"]["groups"]] == ["extra", "policy", "critic"]
    parts = told["policy"]["normalizer"]["parts"]
    assert [part["slice"] for part in parts] == [[0, 3], [3, 4]]
    # skrl counts its initial zero as one more sample, so that the mean of ages 0 to 5 is only near 2.5
    assert parts[1]["clip"] == 5.0 and 0.5 < parts[1]["mean"][0] < 5.0
    groups = {"extra": torch.randn(5, 1), "policy": torch.randn(5, 2), "critic": 9.0 * torch.rand(5, 1)}
    obs = np.concatenate([groups[name].numpy() for name in ("extra", "policy", "critic")], axis=1)
    found = torch.from_numpy(session.run(None, {"obs": obs})[0])
    torch.testing.assert_close(found, policy(groups), rtol=1e-5, atol=1e-5)
    moved = obs.copy()
    moved[:, 3] += 1.0
    assert np.abs(session.run(None, {"obs": moved})[0] - found.numpy()).max() > 1e-3
