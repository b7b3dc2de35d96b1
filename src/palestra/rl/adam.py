"""Adam with its state made at once and a learning rate on the device.

``torch.optim.Adam`` imports PyTorch's compiler on its first use, which takes longer than the rest of a start; this is
the bookkeeping around the same fused kernel, ``torch.optim.adam.adam``.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) with the usual β and ε.

    Args:
        parameters: what is optimised.
        learning_rate: 0-dim tensor, read at each step.
    """

    def __init__(self, parameters: list[nn.Parameter], learning_rate: Tensor) -> None:
        self.parameters, self.learning_rate = parameters, learning_rate
        self.steps = [torch.zeros((), device=p.device) for p in parameters]
        self.exp_avgs = [torch.zeros_like(p, requires_grad=False) for p in parameters]
        self.exp_avg_sqs = [torch.zeros_like(p, requires_grad=False) for p in parameters]

    @property
    def tensors(self) -> list[Tensor]:
        """Everything that it remembers."""
        return [*self.steps, *self.exp_avgs, *self.exp_avg_sqs]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient."""
        moved = [i for i, p in enumerate(self.parameters) if p.grad is not None]
        adam(
            [self.parameters[i] for i in moved],
            [g for p in self.parameters if (g := p.grad) is not None],
            [self.exp_avgs[i] for i in moved],
            [self.exp_avg_sqs[i] for i in moved],
            [],
            [self.steps[i] for i in moved],
            fused=True,
            capturable=self.learning_rate.device.type == "cuda",
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the state in the form of ``torch.optim.Adam``."""
        states = zip(self.steps, self.exp_avgs, self.exp_avg_sqs, strict=True)
        group = {"lr": self.learning_rate, "betas": BETAS, "eps": EPSILON, "weight_decay": 0.0}
        return {
            "state": {i: {"step": n, "exp_avg": m, "exp_avg_sq": v} for i, (n, m, v) in enumerate(states)},
            "param_groups": [{**group, "params": list(range(len(self.parameters)))}],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict()`` in place, the learning rate included."""
        self.learning_rate.copy_(torch.as_tensor(state["param_groups"][0]["lr"]))
        for index, own in self.state_dict()["state"].items():
            saved = state["state"].get(index, {})
            for name, tensor in own.items():
                tensor.copy_(saved[name]) if name in saved else tensor.zero_()
