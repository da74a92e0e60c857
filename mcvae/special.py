r"""Modified Bessel functions of the first kind for von Mises-Fisher densities, on the tensor's own device.

Everything rests on log N_v(x), N_v(x) = Γ(v+1) (2/x)^v I_v(x) = ₀F₁(; v+1; x²/4), which is 0 and regular at x = 0.

At an order V >= 16 the uniform expansion of Debye (DLMF 10.41.3; Abramowitz & Stegun 9.7.7) is taken in the logarithm,
where nothing cancels: with w = √(1 + (x/V)²), p = 1/w, m = w - 1 and log Σ U_k(p)/V^k = Σ D_k(p)/V^k,

    log N_V = V (m - log(1 + m/2)) - ½ log w + Σ_k (D_k(p) - D_k(1)) / V^k

(the Γ function is the same expansion at p = 1). Smaller orders climb down from V = v + n by DLMF 10.29.1, here

    N_j = N_{j+1} + y/((j+1)(j+2)) N_{j+2},   y = x²/4,   r_j = I_{j+1}/I_j = x/(2(j+1)) · N_{j+1}/N_j,

which is stable in this direction (Amos 1974) and adds positive numbers only. Nowhere is Γ or I itself formed, so that
nothing under- or overflows. d log N_v/dx = r_v by DLMF 10.29.4.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

from .tables import tables

_TOP = 16  # the order from which on the expansion is used; its first term left out is then below 2e-14 of log N
_TERMS = 12
_CHUNK = 2**16  # at most so many numbers at once
_SERIES = 1e-3  # y/((v+1)(v+2)) below which r'' is its power series


def log_bessel_i_normalised(order: float | Tensor, x: Tensor) -> Tensor:
    """log[Γ(v+1) (2/x)^v I_v(x)] for the order v and x >= 0, to a relative error of 1e-14 down to x = 0, where it is 0.

    Computed in float64. Differentiable in x, not in the order: first derivatives, r_v of this one and r_v' of the
    ratio, to 1e-12; r_v'' to 1e-12 max(x, 1e3). Not in forward mode.

    Args:
        order: v >= 0, a number, or a tensor that broadcasts against x.
        x: real tensor of any shape, up to 1e15.

    Raises:
        ValueError: for a number ``order`` that is negative or not finite, or a tensor that requires a gradient.
    """
    return _evaluate(order, x)[0].to(x.dtype)


def bessel_i_ratio(order: float | Tensor, x: Tensor) -> Tensor:
    """I_{v+1}(x) / I_v(x), from 0 at x = 0 to 1: the mean resultant length of von Mises-Fisher at 2 (v + 1) dimensions.

    Arguments and errors as in :func:`log_bessel_i_normalised`.
    """
    return _evaluate(order, x)[1].to(x.dtype)


def log_bessel_i(order: float | Tensor, x: Tensor) -> Tensor:
    """log I_v(x) = log N_v(x) + v log(x/2) - log Γ(v+1) (DLMF 10.25.2); at x = 0 this is -inf, or 0 for v = 0.

    Arguments and errors as in :func:`log_bessel_i_normalised`.
    """
    normalised = _evaluate(order, x)[0]
    if isinstance(order, Tensor):
        order = order.double()
        half = torch.where(order == 0, 1.0, x.double() / 2)  # 0 log x is 0 at x = 0, and so is its derivative
        power = order * half.log() - torch.lgamma(order + 1)
    else:
        order = _number(order)
        power = order * (x.double() / 2).log() - math.lgamma(order + 1) if order else 0.0
    return (normalised + power).to(x.dtype)


def vmf_kl_uniform(order: float | Tensor, x: Tensor) -> Tensor:
    """KL(von Mises-Fisher, uniform) = x r_v(x) - log N_v(x) at concentration x on the sphere in 2 (v + 1) dimensions.

    Its derivative is x r_v'(x). Arguments and errors as in :func:`log_bessel_i_normalised`.
    """
    return _evaluate(order, x)[3].to(x.dtype)


def _evaluate(order: float | Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log N, r, r' and x r - log N in float64."""
    x = x.double()
    if isinstance(order, Tensor):
        if order.requires_grad:
            raise ValueError("Bessel functions have no gradient in their order: pass order.detach()")
        x, order = torch.broadcast_tensors(x, order.double())
        return _Bessel.apply(x, order, *_tables(x.device))
    order = _number(order)
    return _Bessel.apply(x, order, *_tables(x.device, order))


def _number(order: float) -> float:
    order = math.fsum((order,))  # unlike float(), also to torch.compile a plain number, on which tables can depend
    if not 0 <= order < math.inf:
        raise ValueError(f"Bessel order {order}: must be a finite number >= 0")
    return order


class _Bessel(torch.autograd.Function):
    """x -> (log N, r, r', x r - log N). What backward needs, r and r', are outputs: so it can itself be derived."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, order: float | Tensor, debye: Tensor, descent: Tensor | None):
        flat = x.reshape(-1)
        if flat.numel() <= _CHUNK:
            results = _compute(flat, order.reshape(-1) if isinstance(order, Tensor) else order, debye, descent)
        else:  # the powers of p take tens of numbers for each x
            chunks = flat.split(_CHUNK)
            orders = order.reshape(-1).split(_CHUNK) if isinstance(order, Tensor) else (order,) * len(chunks)
            parts = [_compute(*pair, debye, descent) for pair in zip(chunks, orders, strict=True)]
            results = [torch.cat(part) for part in zip(*parts, strict=True)]
        return tuple(result.view(x.shape) for result in results)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, order, *_ = inputs
        _, r, slope, _ = output
        ctx.set_materialize_grads(False)
        ctx.order = None if isinstance(order, Tensor) else order
        ctx.save_for_backward(x, r, slope, *((order,) if ctx.order is None else ()))

    @staticmethod
    def backward(ctx, by_log_n, by_r, by_slope, by_kl):
        x, r, slope, *order = ctx.saved_tensors
        grad = None
        for upstream, derivative in (
            (by_log_n, lambda: r),
            (by_r, lambda: slope),
            (by_slope, lambda: _second_derivative(order[0] if order else ctx.order, x, r, slope)),
            (by_kl, lambda: x * slope),
        ):
            if upstream is not None:
                grad = upstream * derivative() if grad is None else grad + upstream * derivative()
        return grad, None, None, None


def _compute(x: Tensor, order: float | Tensor, debye: Tensor, descent: Tensor | None) -> tuple[Tensor, ...]:
    """log N, r, r' and x r - log N for x [n] and a number or orders [n]."""
    if isinstance(order, Tensor):
        top = order + _TOP
        log_n, s, f = _debye(top, x, lambda p: _polynomials_of_orders(debye, p, top))
        excess = _descend_orders(order, x, s)
    else:
        top = order + _steps(order)
        log_n, s, f = _debye(top, x, lambda p: _polynomials(debye, p))
        excess = None if descent is None else _descend(x, s, descent)
    if excess is not None:
        log_n = log_n + excess[0].log1p()
        s, f = _climbed(excess, f)
    s = s / (2 * (order + 1))
    r = s * x
    return log_n, r, s * f, x * r - log_n


def _debye(top: float | Tensor, x: Tensor, polynomials: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """log N_V, s = N_{V+1}/N_V and f = x r'/r = 1 + d log s/d log x at V = ``top``, from g, h, h₁ of `_debye_rows`.

    s = (1 + 1/V) p b with b = 2/(1+p) - h, and f = p² - (1-p²) p b'/b: positive terms, and small with p.
    """
    z2 = (x / top).square()
    w = (z2 + 1).sqrt()
    m = z2 / (w + 1)
    p = w.reciprocal()
    g, h, h1 = polynomials(p).unbind()
    log_n = top * (m - (m / 2).log1p()) - m.log1p() / 2 - m * g
    q = 2 / (p + 1)
    b = q - h
    p2 = p.square()
    f = p2 + (1 - p2) * (p * q.square() / 2 + h1) / b
    return log_n, p * b * (1 + 1 / top), f


def _polynomials(table: Tensor, t: Tensor) -> Tensor:
    """[rows, n]: polynomials without constant term, coefficients [rows, degree], at t [n]."""
    return table @ t.expand(table.size(-1), -1).cumprod(0)


def _polynomials_of_orders(table: Tensor, p: Tensor, top: Tensor) -> Tensor:
    weights = top.reciprocal().expand(_TERMS + 1, -1).cumprod(0)
    return (_polynomials(table, p).unflatten(0, (-1, 3)) * weights.unsqueeze(1)).sum(0)


def _descend(x: Tensor, s: Tensor, table: Tensor) -> Tensor:
    """N_{v+j}/N_V - 1, j = 0 … n, [n + 1, …]: polynomials in y = x²/4, those of N_V and, times s, those of N_{V+1}."""
    of_top, of_next = _polynomials(table, x.square() / 4).unflatten(0, (2, -1)).unbind()
    return torch.addcmul(of_top, of_next, s)


def _descend_orders(order: Tensor, x: Tensor, s: Tensor) -> Tensor:
    """The same by recursion, n = 16, for orders that differ."""
    y = x.square() / 4
    following, excess = s, [torch.zeros_like(s)]
    for j in reversed(range(_TOP)):
        step = y / ((order + (j + 1)) * (order + (j + 2)))
        excess.append(torch.addcmul(excess[-1], step, following))
        following = excess[-2] + 1
    return torch.stack(excess[::-1])


def _climbed(excess: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
    """s and f at the lowest order: s_j = N_{j+1}/N_j, and f_j = s_j + (s_j - 1) f_{j+1} unrolled into one sum."""
    n = excess + 1
    s = n[1:] / n[:-1]
    signs = (s - 1).cumprod(0)
    return s[0], s[0] + (s[1:] * signs[:-1]).sum(0) + signs[-1] * f


def _second_derivative(v, x: Tensor, r: Tensor, slope: Tensor) -> Tensor:
    """r'': the derivative of Riccati's equation r' = 1 - r² - (2v+1) r/x, and where that cancels (small x), the series
    r = 2 Σ (-1)^(k+1) σ_k x^(2k-1) with Rayleigh's σ_k, k = 2 … 5 (Watson 1944, §15.51; DLMF 10.21.55).
    """
    a, b, c, d, e = (v + k for k in range(1, 6))
    u = x.square() / (4 * a * b)
    small = u < _SERIES
    inner = x.masked_fill(small, 1.0)
    direct = (2 * v + 1) * (r / inner - slope) / inner - 2 * r * slope
    u = u.masked_fill(~small, 0.0)
    series = -3 / 2 + u * (
        10 * b / c - u * (21 / 2 * (5 * v + 11) * b / (c * d) - u * (36 * (7 * v + 19) * b * b / (c * d * e)))
    )
    return torch.where(small, series * x / (2 * a * a * b), direct)


@cache
def _debye_rows() -> list[list[list[float]]]:
    """Coefficients [k][3][i] of p^(i+1)/V^(k+1) in p Σ Q_k/V^k, h = p/V + 2p² Σ D_k'/V^(k+1) and p h'.

    Q_k = (D_k(p) - D_k(1))/(p - 1). With log ΣU_k/V^k for ΣU_k/V^k, the recursion DLMF 10.41.9 becomes Riccati's
    D_{k+1}' = ½ [(q D_k')' + q Σ_{i+j=k} D_i' D_j'], q = p² (1-p²), from D_1' = (1 - 5p²)/8.
    """
    slopes = [[Fraction(1, 8), Fraction(0), Fraction(-5, 8)]]
    while len(slopes) < _TERMS:
        linear = _times_q(slopes[-1])
        new = [i * c for i, c in enumerate(linear)][1:] + [Fraction(0)] * 3
        for left, right in zip(slopes[:-1], slopes[-2::-1], strict=True):
            for i, c in enumerate(_times_q(_product(left, right))):
                new[i] += c
        slopes.append([c / 2 for c in new[: 3 * len(slopes) + 3]])
    degree = 3 * _TERMS + 1
    rows = [[[0.0] * degree for _ in range(3)] for _ in range(_TERMS + 1)]
    rows[0][1][0] = rows[0][2][0] = 1.0
    for k, slope in enumerate(slopes):
        for i, c in enumerate(slope):
            rows[k + 1][1][i + 1] = float(2 * c)
            rows[k + 1][2][i + 1] = float(2 * c * (i + 2))
        tail = Fraction(0)
        for i in reversed(range(len(slope))):
            tail += slope[i] / (i + 1)
            rows[k][0][i] = float(tail)
    return rows


def _product(left: list[Fraction], right: list[Fraction]) -> list[Fraction]:
    out = [Fraction(0)] * (len(left) + len(right) - 1)
    for i, a in enumerate(left):
        for j, b in enumerate(right):
            if a and b:
                out[i + j] += a * b
    return out


def _times_q(polynomial: list[Fraction]) -> list[Fraction]:
    return [a - b for a, b in zip([0, 0, *polynomial, 0, 0], [0, 0, 0, 0, *polynomial], strict=True)]


def _tables(device: torch.device, order: float | None = None) -> tuple[Tensor, Tensor | None]:
    """The coefficients of `_debye` and of `_descend` (None where not needed) for a number, or those for tensors."""
    debye, *descent = tables(_coefficients, (order,), device)
    return debye, descent[0] if descent else None


def _coefficients(order: float | None) -> list[list[list[float]]]:
    if order is None:
        return [[polynomial for rows in _debye_rows() for polynomial in rows]]
    return [_debye_table(order), _descent_table(order)] if order < _TOP else [_debye_table(order)]


def _debye_table(order: float) -> list[list[float]]:
    """[3][power of p]: `_debye_rows` summed over the powers of 1/V, as many as matter."""
    top = order + _steps(order)
    terms = min(_TERMS, math.ceil(40 / math.log(top)))
    weights = [top**-k for k in range(1, terms + 2)]
    rows = _debye_rows()
    return [
        [math.fsum(w * row[i][j] for w, row in zip(weights[:last], rows, strict=False)) for j in range(3 * terms + 1)]
        for i, last in enumerate((terms, terms + 1, terms + 1))
    ]


def _descent_table(order: float) -> list[list[float]]:
    """Coefficients of y^(i+1) in N_{order+j}, j = 0 … n, for (N_V, N_{V+1}) = (1, 0), and below them for (0, 1)."""
    steps = _steps(order)
    padding = [0.0] * ((steps + 1) // 2)
    table = []
    for here, following in ([1.0, *padding], [0.0, *padding]), ([0.0, *padding], [1.0, *padding]):
        rows = [here[1:]]
        for j in reversed(range(steps)):
            c = 1 / ((order + j + 1) * (order + j + 2))
            here, following = [a + c * b for a, b in zip(here, [0.0, *following[:-1]], strict=True)], here
            rows.append(here[1:])
        table += rows[::-1]
    return table


def _steps(order: float) -> int:
    return max(0, math.ceil(_TOP - order))
