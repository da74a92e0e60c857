"""What densities compute as one node of the graph, or once instead of twice, against the formulas."""

import mpmath
import pytest
import torch

from mcvae.distributions import VonMisesFisher
from mcvae.distributions.rotational import _TURN
from mcvae.distributions.von_mises_fisher import angle_on_sphere
from mcvae.distributions.wrapped_normal import _LOG_WINDINGS
from mcvae.families import _DIRECTION
from mcvae.manifolds.windings import windings

F64 = torch.float64


def gradients(call, tensors):
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = call(*leaves)
    weights = torch.randn(result.shape, dtype=F64, generator=torch.Generator().manual_seed(1)).to(result.dtype)
    return result, *torch.autograd.grad(result, leaves, weights)


def assert_twins(twin, tensors, options=(), tolerance=1e-10):
    found = gradients(lambda *t: twin(*t, options=options), tensors)
    assert found[0].grad_fn.name() == "_NodeBackward"
    for a, b in zip(found, gradients(lambda *t: twin.formula(*t, *options), tensors), strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, b.abs().max().item()))


def windings_arguments(dim, width, spread, k):
    scale = spread * (0.1 + torch.rand(40, width, dtype=F64))
    u = scale * torch.randn(40, dim, dtype=F64)
    u[0] = 0
    return u, scale, torch.tensor([k], dtype=F64)


@pytest.mark.parametrize("sign", [1, 0])
@pytest.mark.parametrize("spread", [0.02, 0.5, 3.0])
@pytest.mark.parametrize(("dim", "width"), [(1, 1), (2, 2), (5, 5), (5, 1)])
def test_the_sum_over_windings_has_the_gradients_of_its_formula(dim, width, spread, sign):
    assert_twins(_LOG_WINDINGS, windings_arguments(dim, width, spread, 0.7), (windings(dim), sign))


def test_the_sum_over_windings_is_nothing_for_a_negative_curvature():
    u, scale, k = windings_arguments(3, 3, 1.0, -0.7)
    for result in gradients(lambda *t: _LOG_WINDINGS(*t, options=(windings(3), 0)), (u, scale, k)):
        assert not result.any()


def test_the_sum_over_windings_can_be_differentiated_twice():
    u, scale, k = (t.requires_grad_() for t in windings_arguments(2, 2, 0.8, 0.7))
    u, scale = u[5:8].detach().requires_grad_(), scale[5:8].detach().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda *t: _LOG_WINDINGS(*t, options=(windings(2), 1)), (u, scale, k))


@pytest.mark.parametrize("samples", [(), (3,)])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_turned_tangents_have_the_gradients_of_their_formula(dim, samples):
    loc = torch.nn.functional.normalize(torch.randn(20, dim + 1, dtype=F64), dim=-1)
    cosine, sine = torch.randn(2, *samples, 20, 1, dtype=F64)
    tangent = torch.randn(*samples, 20, dim, dtype=F64)
    assert_twins(_TURN, (loc, cosine, sine, tangent))
    few = [t[..., :2, :].detach().requires_grad_() for t in (loc, cosine, sine, tangent)]
    assert torch.autograd.gradgradcheck(_TURN, few)


def test_directions_of_a_head_have_the_gradients_of_their_formula():
    x = torch.randn(5, 3, dtype=F64)
    x[1:3] = torch.tensor([[0.0, 0.0, 0.0], [0.0, -1e-20, 0.0]])
    pole = torch.tensor([1.0, 0.0, 0.0], dtype=F64)
    for call in (_DIRECTION, _DIRECTION.formula):
        assert torch.equal(call(x.clone().requires_grad_(), pole)[1], pole)
    found, expected = (gradients(lambda x, call=call: call(x, pole), (x,)) for call in (_DIRECTION, _DIRECTION.formula))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kappa", [0.0, 1e-6, 1e-3, 0.1, 1.0, 8.0, 100.0, 1e6, 1e12])
def test_angles_on_the_sphere_have_the_quantiles_of_the_length(kappa):
    """To a rounding error of the angle, and the pathwise derivative to 1e-6 where its terms cancel, else 1e-9."""
    lengths = [1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 4.0, 6.0]
    concentration = torch.full((len(lengths),), kappa, dtype=F64, requires_grad=True)
    found = angle_on_sphere(torch.tensor(lengths, dtype=F64), concentration)
    (slopes,) = torch.autograd.grad(found.sum(), concentration)
    with mpmath.workdps(60):

        def angle(length, k):
            above = mpmath.exp(-(mpmath.mpf(length) ** 2) / 2)
            below = 1 - above
            square = -mpmath.log(above + below * mpmath.exp(-2 * k)) / (2 * k) if k else below
            return 2 * mpmath.asin(mpmath.sqrt(square))

        at, step = mpmath.mpf(kappa), mpmath.mpf("1e-20") * max(1, kappa)
        exact = [float(angle(length, at)) for length in lengths]
        rates = [float((angle(length, at + 2 * step) - angle(length, at + step)) / step) for length in lengths]
    torch.testing.assert_close(found, torch.tensor(exact, dtype=F64), rtol=2e-11, atol=0)
    rates = torch.tensor(rates, dtype=F64)
    assert (slopes - rates).abs().max() <= (1e-9 if kappa >= 0.1 else 1e-6) * rates.abs().max()


def test_draws_on_the_sphere_are_uniform_at_concentration_0():
    loc = torch.tensor([0.0, 0.0, 1.0], dtype=F64)
    draws = VonMisesFisher(loc, torch.tensor(0.0, dtype=F64)).rsample((20_000,))
    assert torch.allclose(draws[:, 2].sort().values, torch.linspace(-1, 1, 20_000, dtype=F64), atol=0.03)
