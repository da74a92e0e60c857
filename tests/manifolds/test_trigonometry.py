"""The functions of t = k r² against mpmath, across the border between series and direct formula."""

import mpmath
import pytest
import torch

from mcvae.manifolds import trigonometry

FUNCTIONS = {
    "sin_ratio": (lambda t, sign: trigonometry.sin_ratio(t, sign), lambda t: mpmath.sinc(mpmath.sqrt(t))),
    "log_sin_ratio": (
        lambda t, sign: trigonometry.log_sin_ratio(t, sign),
        lambda t: mpmath.log(abs(mpmath.sinc(mpmath.sqrt(t)))),
    ),
    "asinh_ratio": (
        lambda t, sign: trigonometry.asinh_ratio(t),
        lambda t: mpmath.asinh(mpmath.sqrt(-t)) / mpmath.sqrt(-t),
    ),
    "atan_ratio": (
        lambda t, sign: trigonometry.atan_ratio(t, (1 - t).sqrt()),
        lambda t: mpmath.asin(mpmath.sqrt(t)) / mpmath.sqrt(t),
    ),
    "cosine": (lambda t, sign: trigonometry.cos_and_sin_ratio(t)[0], lambda t: mpmath.cos(mpmath.sqrt(t))),
    "sine": (lambda t, sign: trigonometry.cos_and_sin_ratio(t)[1], lambda t: mpmath.sinc(mpmath.sqrt(t))),
}
SIGNS = {"asinh_ratio": (-1,), "atan_ratio": (1,), "cosine": (1,), "sine": (1,)}
CASES = [(name, sign) for name in FUNCTIONS for sign in SIGNS.get(name, (1, -1))]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("name", "sign"), CASES)
def test_values_agree_with_mpmath(name, sign, dtype):
    ours, exact = FUNCTIONS[name]
    largest = {"atan_ratio": 0.9, "asinh_ratio": 1e4}.get(name, 9.0 if sign > 0 else 400.0)
    t = sign * torch.logspace(-12, torch.tensor(largest).log10().item(), 120, dtype=torch.float64).to(dtype)
    expected = torch.tensor([float(mpmath.re(exact(mpmath.mpf(v)))) for v in t.tolist()], dtype=torch.float64)
    tolerance = 8 * torch.finfo(dtype).eps
    torch.testing.assert_close(ours(t, sign).double(), expected, rtol=tolerance * 4, atol=tolerance)


@pytest.mark.parametrize(("name", "sign"), CASES)
def test_first_and_second_derivatives_are_continuous_where_the_series_ends(name, sign):
    ours, _ = FUNCTIONS[name]
    t = sign * torch.logspace(-9, -1, 200, dtype=torch.float64)

    def first(x):
        return torch.func.grad(lambda v: ours(v, sign))(x)

    slope, curvature = torch.func.vmap(first)(t), torch.func.vmap(torch.func.grad(first))(t)
    for values in (slope, curvature):
        assert torch.isfinite(values).all()
        assert ((values[1:] - values[:-1]).abs() <= 0.05 * values[:-1].abs() + 1e-4).all()


def test_safe_sqrt_has_zero_slope_at_zero():
    x = torch.tensor([0.0, 4.0], requires_grad=True)
    trigonometry.safe_sqrt(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.25]
