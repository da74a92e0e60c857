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
    "cosine": (lambda t, sign: trigonometry.cos_and_sin_ratio(t, sign)[0], lambda t: mpmath.cos(mpmath.sqrt(t))),
    "sine": (lambda t, sign: trigonometry.cos_and_sin_ratio(t, sign)[1], lambda t: mpmath.sinc(mpmath.sqrt(t))),
    "tan_ratio": (
        lambda t, sign: trigonometry.tan_ratio(t, sign),
        lambda t: mpmath.tan(mpmath.sqrt(t)) / mpmath.sqrt(t),
    ),
    "arctan_ratio": (
        lambda t, sign: trigonometry.arctan_ratio(t, sign),
        lambda t: mpmath.atan(mpmath.sqrt(t)) / mpmath.sqrt(t),
    ),
    "angle_ratio": (
        lambda t, sign: trigonometry.angle_ratio(t, (1 - t).sqrt(), sign),
        lambda t: mpmath.asin(mpmath.sqrt(t)) / mpmath.sqrt(t),
    ),
}
SIGNS = {"asinh_ratio": (-1,), "atan_ratio": (1,)}
CASES = [(name, sign) for name in FUNCTIONS for sign in SIGNS.get(name, (1, -1))]
LARGEST = {  # of |t| for t > 0 and t < 0
    "atan_ratio": (0.9, None),
    "asinh_ratio": (None, 1e4),
    "angle_ratio": (0.9, 1e4),
    "tan_ratio": (2.0, 9.0),
    "cosine": (9.0, 390.0),  # constant beyond √-t = 19.9 in float32
    "sine": (9.0, 390.0),
    "arctan_ratio": (1e4, 0.9),
}
EITHER = [name for name in FUNCTIONS if name not in SIGNS]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("name", "sign"), CASES)
def test_values_agree_with_mpmath(name, sign, dtype):
    ours, exact = FUNCTIONS[name]
    largest = LARGEST.get(name, (9.0, 400.0))[0 if sign > 0 else 1]
    t = sign * torch.logspace(-12, torch.tensor(largest).log10().item(), 120, dtype=torch.float64).to(dtype)
    expected = torch.tensor([float(mpmath.re(exact(mpmath.mpf(v)))) for v in t.tolist()], dtype=torch.float64)
    tolerance = 8 * torch.finfo(dtype).eps
    for side in (sign, 0) if name in EITHER else (sign,):
        torch.testing.assert_close(ours(t, side).double(), expected, rtol=tolerance * 4, atol=tolerance)


@pytest.mark.parametrize("name", EITHER)
def test_functions_of_either_sign_have_accurate_derivatives_through_zero(name):
    """Value, first and second derivative at and around 0 and across the end of the series, against mpmath."""
    ours, exact = FUNCTIONS[name]
    sizes = [0.0, 1e-14, 1e-9, 1e-6, 1e-3, *torch.logspace(-2, -0.3, 25, dtype=torch.float64).tolist()]
    t = torch.tensor([sign * size for size in sizes for sign in (1, -1)], dtype=torch.float64)

    def function(x):
        return ours(x, 0)

    for order in range(3):
        with mpmath.workdps(60):
            series = [mpmath.taylor(lambda v: mpmath.re(exact(v + mpmath.mpf("1e-25"))), v, order) for v in t.tolist()]
            expected = [float(terms[order] * mpmath.factorial(order)) for terms in series]
        value = torch.func.vmap(function)(t)
        scale = torch.tensor(expected, dtype=torch.float64).abs().clamp_min(1.0)
        error = (value - torch.tensor(expected, dtype=torch.float64)).abs() / scale
        assert error.max() < (2e-15, 1e-12, 2e-10)[order]
        function = torch.func.grad(function)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", EITHER)
def test_functions_of_either_sign_have_finite_gradients_far_from_zero(name, dtype):
    far = 1e30 if name != "arctan_ratio" else 1.0
    t = torch.tensor([-far, -1.0, 0.0, 1.0, 1e30], dtype=dtype, requires_grad=True)
    value = trigonometry.angle_ratio(t, 1 - t.detach(), 0) if name == "angle_ratio" else FUNCTIONS[name][0](t, 0)
    assert torch.isfinite(value).all()
    assert torch.isfinite(torch.autograd.grad(value.sum(), t)[0]).all()


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
