"""Adam against PyTorch's own."""

import copy
import subprocess
import sys

import torch
from torch import nn

from palestra.rl.adam import Adam


def test_it_is_pytorchs_adam_and_its_state_moves_between_both() -> None:
    def gradients(step: int) -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(step)
        return [torch.randn(shape, generator=generator) for shape in ((3, 2), (3,))]

    ours = [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.zeros(3))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    rate = torch.tensor(0.1)
    adam, reference = Adam(ours, rate), torch.optim.Adam(theirs, lr=torch.tensor(0.1), fused=True)

    def both_step(step: int) -> None:
        for parameters in (ours, theirs):
            for parameter, gradient in zip(parameters, gradients(step), strict=True):
                parameter.grad = gradient
        adam.step()
        reference.step()

    for step in range(5):
        both_step(step)
    reference.load_state_dict(copy.deepcopy(adam.state_dict()))
    adam.load_state_dict(reference.state_dict())
    both_step(5)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0.0, atol=0.0)
    adam.zero_grad()
    before = [p.detach().clone() for p in ours]
    adam.step()
    assert all(torch.equal(a, b) for a, b in zip(before, ours, strict=True))


def test_learning_does_not_import_the_compiler() -> None:
    code = (
        "import sys, torch\n"
        "from palestra.rl.config import PPORunnerCfg\n"
        "from palestra.rl.ppo import PPO\n"
        "ppo = PPO(PPORunnerCfg(num_steps_per_env=4), {'policy': 3}, 8, 2)\n"
        "ppo.update()\n"
        "print('torch._dynamo' in sys.modules, 'sympy' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
