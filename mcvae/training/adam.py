"""Adam (Kingma & Ba 2015) in one fused kernel a step, with a state that is plain tensors.

The same kernel and bits as ``torch.optim.Adam(fused=True)``, without the import of torch's compiler that making any
``torch.optim`` optimiser costs: seconds and some 150 MB a process.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """Moments of every parameter; those without a gradient are left as they are.

    ``curvatures`` are those of the parameters that have a learning rate of their own and count their own steps: the
    first that they take may be a later one.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], curvatures: Iterable[nn.Parameter] = ()) -> None:
        self.parameters = list(parameters)
        self.mean = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        self.square = [torch.zeros_like(p, requires_grad=False) for p in self.parameters]
        own = {id(p) for p in curvatures}
        self.is_curvature = [id(p) in own for p in self.parameters]
        self.count = torch.zeros((), device=self.parameters[0].device)
        self.curvature_count = torch.zeros_like(self.count)

    @torch.no_grad()
    def step(
        self, learning_rate: float, curvature_rate: float | None = None, largest_norm: float | None = None
    ) -> None:
        """Move the parameters against their gradients.

        Args:
            learning_rate: of all but the curvatures.
            curvature_rate: of the curvatures; None leaves them, and their moments, as they are.
            largest_norm: gradients are scaled down to it together, if their norm is larger; those that move nothing do
                not count.
        """
        groups: dict[tuple[bool, torch.dtype], list[tuple[Tensor, ...]]] = {}
        for each in zip(self.parameters, self.mean, self.square, self.is_curvature, strict=True):
            parameter, mean, square, curvature = each
            if parameter.grad is not None and not (curvature and curvature_rate is None):
                groups.setdefault((curvature, parameter.dtype), []).append((parameter, parameter.grad, mean, square))
        if largest_norm is not None:
            clip([[gradient for _, gradient, _, _ in group] for group in groups.values()], largest_norm)
        self.count += 1
        self.curvature_count += curvature_rate is not None
        for (curvature, _), group in groups.items():
            parameters, gradients, means, squares = (list(each) for each in zip(*group, strict=True))
            count = self.curvature_count if curvature else self.count
            torch._fused_adam_(
                parameters, gradients, means, squares, [], [count] * len(group),
                lr=curvature_rate if curvature else learning_rate, beta1=BETA1, beta2=BETA2, eps=EPSILON,
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
        return tensors | {"count": self.count, "curvature_count": self.curvature_count}

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take over what :meth:`state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(tensors[name])


def clip(groups: Iterable[list[Tensor]], largest_norm: float) -> None:
    """Scale gradients in place so that their common norm is at most ``largest_norm``; each group has one dtype.

    The bits of ``torch.nn.utils.clip_grad_norm_``, and nothing waits for the device.
    """
    groups = list(groups)
    norms = [norm for group in groups for norm in torch._foreach_norm(group)]
    if not norms:
        return
    total = torch.linalg.vector_norm(torch.stack(norms if len(groups) == 1 else [n.double() for n in norms]))
    scale = (largest_norm / (total + 1e-6)).clamp(max=1.0)
    for group in groups:
        torch._foreach_mul_(group, scale.to(group[0].dtype))
