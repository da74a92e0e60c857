"""Adam (Kingma & Ba 2015) in one fused kernel a step, with a state that is plain tensors.

The same kernel and bits as ``torch.optim.Adam(fused=True)``, without the import of torch's compiler that making any
``torch.optim`` optimiser costs: seconds and some 150 MB a process.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Moments of every parameter; those without a gradient are left as they are."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.square = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.count = torch.zeros((), device=self.parameters[0].device)

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Move the parameters against their gradients."""
        self.count += 1
        groups: dict[torch.dtype, list[tuple[Tensor, ...]]] = {}
        for parameter, mean, square in zip(self.parameters, self.mean, self.square, strict=True):
            if parameter.grad is not None:
                groups.setdefault(parameter.dtype, []).append((parameter, parameter.grad, mean, square))
        for group in groups.values():
            parameters, gradients, means, squares = (list(each) for each in zip(*group, strict=True))
            torch._fused_adam_(
                parameters, gradients, means, squares, [], [self.count] * len(group),
                lr=learning_rate, beta1=BETA1, beta2=BETA2, eps=EPSILON,
                weight_decay=0.0, amsgrad=False, maximize=False,
            )  # fmt: skip

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, by name."""
        tensors = {f"mean.{i}": tensor for i, tensor in enumerate(self.mean)}
        tensors |= {f"square.{i}": tensor for i, tensor in enumerate(self.square)}
        return tensors | {"count": self.count}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])
