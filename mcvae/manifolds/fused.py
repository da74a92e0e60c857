"""Formulas that eager training takes as one node of the graph, with a derivative written by hand.

A step on small tensors costs as much as it has operators. So a formula, which torch differentiates, has a twin of half
the operators: the same value and the same gradient up to rounding.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .pairs import Turn, cos_and_sin, log_sin
from .trigonometry import bounded, log_sin_ratio

Gradients = Sequence[Tensor | None]


class Fused(NamedTuple):
    """A formula and its twin; a call is differentiable, any number of times.

    Compiled, transformed by torch.func or without gradients the formula itself is used, and for second derivatives.
    Not in forward mode outside torch.func.

    Attributes:
        formula: ``formula(*tensors, *options)``, a tensor.
        forward: of the same arguments, the result and whatever ``backward`` wants to know.
        backward: ``backward(needed, grad, result, *known, *tensors, *options)``, a gradient a tensor, of its shape or
            one that sums to it; what it returns where ``needed`` is False is ignored.
        second: ``second(result, *tensors, *options)``, another result, of :meth:`both`. Then ``forward`` returns two
            results before the rest, and ``backward`` takes two gradients and results.
    """

    formula: Callable[..., Tensor]
    forward: Callable[..., tuple[Tensor, ...]]
    backward: Callable[..., Gradients]
    second: Callable[..., Tensor] | None = None

    def __call__(self, *tensors: Tensor, options: tuple = ()) -> Tensor:
        if self._differentiates(tensors):
            results = _Node.apply(self, options, *tensors)
            return results if self.second is None else results[0]
        return self.formula(*tensors, *options)

    def both(self, *tensors: Tensor, options: tuple = ()) -> tuple[Tensor, Tensor]:
        """The result, and the second."""
        return _Node.apply(self, options, *tensors) if self._differentiates(tensors) else self.plain(*tensors, *options)

    def plain(self, *arguments: Any) -> Any:
        """What torch differentiates: the formula's result, with the second where there is one."""
        result = self.formula(*arguments)
        return result if self.second is None else (result, self.second(result, *arguments))

    def _differentiates(self, tensors: Sequence[Tensor]) -> bool:
        traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        return not traced and torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, fused: Fused, options: tuple, *tensors: Tensor) -> Any:
        results = fused.forward(*tensors, *options)
        ctx.fused, ctx.options, ctx.count = fused, options, len(tensors)
        ctx.save_for_backward(*tensors, *results)
        return results[0] if fused.second is None else results[:2]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Gradients:
        saved, count, needed = ctx.saved_tensors, ctx.count, ctx.needs_input_grad[2:]
        tensors = saved[:count]
        if torch.is_grad_enabled():
            found = _differentiate(ctx.fused.plain, tensors, ctx.options, needed, grads)
        else:
            found = ctx.fused.backward(needed, *grads, *saved[count:], *tensors, *ctx.options)
        summed = [
            (g if g.shape == x.shape else g.sum_to_size(x.shape)) if need and g is not None else None
            for need, g, x in zip(needed, found, tensors, strict=True)
        ]
        return None, None, *summed


def _differentiate(
    formula: Callable[..., Any], tensors: Sequence[Tensor], options: tuple, needed: Sequence[bool], grads: Gradients
) -> Gradients:
    """The formula's own gradients, with a graph."""
    aliases = [x.view_as(x) for x in tensors]  # one tensor may be two arguments
    wanted = [x for x, need in zip(aliases, needed, strict=True) if need]
    results = formula(*aliases, *options)
    results = (results,) if len(grads) == 1 else results
    found = iter(torch.autograd.grad(results, wanted, grads, create_graph=True, allow_unused=True))
    return [next(found) if need else None for need in needed]


def turn(u: Tensor, k: Tensor, sign: int, top: float = math.inf) -> tuple[Tensor, Turn, tuple[Tensor, ...]]:
    """u sin θ / θ, and cos θ and more of θ = √k |u|; and what :func:`turn_back` wants to know."""
    inside = bounded(u)
    square = (inside * inside).sum(-1, keepdim=True)
    made = cos_and_sin(square * k, sign, top)
    return inside * made.ratio, made, (inside, square, made.ratio, made.slope, made.cosine_slope)


def turn_back(
    needed: Sequence[bool], by_tangent: Tensor, by_cosine: Tensor, *known: Tensor, by_log: Tensor | None = None
) -> Gradients:
    """Gradients in u and k from those of u sin θ / θ and of cos θ, and ``by_log``, of θ² / 2 in what else there is."""
    inside, square, ratio, slope, cosine_slope, u, k = known
    along = torch.addcmul((inside * by_tangent).sum(-1, keepdim=True) * slope, cosine_slope, by_cosine)
    if by_log is not None:
        along = along + by_log
    by_u = torch.addcmul(ratio * by_tangent, inside, k * along) * (u == inside)
    return by_u, along * square * 0.5 if needed[1] else None


def _log_determinant(u: Tensor, k: Tensor, sign: int) -> Tensor:
    t = k * u.square().sum(-1, keepdim=True)
    return (u.shape[-1] - 1) * log_sin_ratio(t, sign).squeeze(-1)


def _log_determinant_forward(u: Tensor, k: Tensor, sign: int) -> tuple[Tensor, ...]:
    square = (u * u).sum(-1, keepdim=True)
    value, slope = log_sin(square * k, sign)
    return value.squeeze(-1) * (u.shape[-1] - 1), square, slope


def _log_determinant_backward(needed: Sequence[bool], grad: Tensor, _: Tensor, *known: Tensor | int) -> Gradients:
    square, slope, u, k, _ = known
    along = grad.unsqueeze(-1) * slope * (u.shape[-1] - 1)
    return u * (k * along), along * square * 0.5 if needed[1] else None


# (u [..., dim], k [..., 1], sign) -> (dim - 1) log |sin θ / θ| with θ = √k |u|, sinh for k < 0: log |det d exp|; [...]
log_determinant = Fused(_log_determinant, _log_determinant_forward, _log_determinant_backward)
