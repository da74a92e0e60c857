"""Distributions carried to spheres of other curvature: a change of variables, and gradients in the curvature."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

from mcvae.distributions import HypersphericalUniform, OnSphere, PowerSpherical, VonMisesFisher, has_closed_form, kl
from mcvae.manifolds import Hyperboloid, Sphere

F64 = torch.float64
families = pytest.mark.parametrize("family", [VonMisesFisher, PowerSpherical], ids=lambda family: family.__name__)


def unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=F64), dim=-1)


def pair(family, manifold, batch=4):
    """A posterior and the uniform prior on ``manifold``, a stack of copies or one sphere."""
    shape = (batch, *manifold.batch_shape)
    q = OnSphere(manifold, family(unit(*shape, manifold.ambient_dim), 5 * torch.rand(shape, dtype=F64)))
    return q, OnSphere(manifold, HypersphericalUniform(manifold.dim, dtype=F64))


@families
def test_draws_have_the_radius_of_each_copy(family):
    manifold = Sphere(3, k=[0.25, 1.0, 9.0], count=3)
    q, p = pair(family, manifold)
    for d, batch in ((q, (4, 3)), (p, (3,))):
        assert d.batch_shape == batch and d.has_rsample
        z = d.rsample((10,))
        radius = torch.tensor([2.0, 1.0, 1 / 3], dtype=F64).expand(10, *batch)
        torch.testing.assert_close(z.norm(dim=-1), radius)
        assert d.support.check(z).all()


@families
def test_density_is_the_change_of_variables(family):
    manifold = Sphere(3, k=[0.25, 9.0], count=2)
    q, _ = pair(family, manifold)
    z = q.sample((5,))
    radius = manifold.k.rsqrt()
    expected = q.base.log_prob(z / radius[:, None]) - 3 * radius.log()
    torch.testing.assert_close(q.log_prob(z), expected)
    torch.testing.assert_close(q.entropy(), q.base.entropy() + 3 * radius.log())
    for value, base in ((q.loc, q.base.loc), (q.mean, q.base.mean), (q.mode, q.base.mode)):
        torch.testing.assert_close(value, base * radius[:, None])
    torch.testing.assert_close(q.variance, q.base.variance * radius[:, None] ** 2)


def test_uniform_density_is_one_over_the_area():
    p = OnSphere(Sphere(2, k=0.25), HypersphericalUniform(2, dtype=F64))
    torch.testing.assert_close(p.log_prob(p.sample()), torch.tensor(-math.log(16 * math.pi), dtype=F64))


@families
def test_divergences_do_not_depend_on_the_curvature(family):
    manifold = Sphere(2, k=[0.1, 5.0], learn=True, count=2)
    q, p = pair(family, manifold)
    z = q.rsample((20_000,))
    assert has_closed_form(q, p)
    closed = kl(q, p, z)
    torch.testing.assert_close(closed, kl_divergence(q.base, p.base).expand(20_000, 4, 2))
    assert not closed.requires_grad
    estimate = q.log_prob(z) - p.log_prob(z)
    assert ((estimate.mean(0) - closed[0]).abs() < 4 * estimate.std(0) / 20_000**0.5).all()


@families
def test_gradients_in_the_curvature_are_those_of_the_radius(family):
    manifold = Sphere(2, k=2.0, learn=True)
    q, _ = pair(family, manifold)
    z = q.rsample()
    (gradient,) = torch.autograd.grad(z.norm(dim=-1).sum(), manifold.log_curvature)
    assert gradient.item() == pytest.approx(4 * -0.5 * 2**-0.5)  # d k^(-1/2) / d log k, of four draws
    (gradient,) = torch.autograd.grad(q.entropy().sum(), manifold.log_curvature)
    assert gradient.item() == pytest.approx(-4)
    total = q.log_prob(q.rsample()).sum()  # at its own draws the base sees no curvature
    (gradient,) = torch.autograd.grad(total, manifold.log_curvature)
    assert gradient.item() == pytest.approx(4)


@families
def test_expanding_changes_shapes_only(family):
    manifold = Sphere(2, k=[0.5, 2.0], count=2)
    q, p = pair(family, manifold)
    e = q.expand((3, 4, 2))
    assert (e.batch_shape, e.sample().shape) == ((3, 4, 2), (3, 4, 2, 3))
    z = q.sample()
    torch.testing.assert_close(e.log_prob(z), q.log_prob(z).expand(3, 4, 2))
    assert p.expand((4, 2)).sample((5,)).shape == (5, 4, 2, 3)


def test_bad_arguments_are_refused_in_sentences():
    base = HypersphericalUniform(2, dtype=F64)
    with pytest.raises(ValueError, match=r"event shape \[3\]; on a sphere of dim=3 it must be \[4\]"):
        OnSphere(Sphere(3), base)
    with pytest.raises(ValueError, match="support"):
        OnSphere(Sphere(2, k=4.0), base, validate_args=True).log_prob(base.sample())
    q, p = OnSphere(Sphere(2), base), OnSphere(Sphere(2), base)
    assert not has_closed_form(q, p)
    with pytest.raises(NotImplementedError, match="one manifold"):
        kl_divergence(q, p)


@families
def test_it_compiles_and_maps(family):
    manifold = Sphere(2, k=[0.5, 2.0], learn=True, count=2)
    loc, kappa = unit(4, 2, 3), torch.rand(4, 2, dtype=F64)

    def step(loc, kappa):
        q = OnSphere(manifold, family(loc, kappa, validate_args=False), validate_args=False)
        base = HypersphericalUniform(2, dtype=F64, validate_args=False)
        p = OnSphere(manifold, base, validate_args=False)
        z = q.rsample()
        return z, q.log_prob(z) - p.log_prob(z), kl(q, p, z)

    torch._dynamo.reset()
    torch.distributions.kl._KL_MEMOIZE.clear()  # the search on a first call must not be part of the graph
    torch.manual_seed(1)
    expected = step(loc, kappa)
    torch.manual_seed(1)
    for left, right in zip(torch.compile(step, fullgraph=True, backend="aot_eager")(loc, kappa), expected, strict=True):
        torch.testing.assert_close(left, right)
    mapped = torch.func.vmap(step, randomness="different")(loc, kappa)
    torch.testing.assert_close(mapped[2], expected[2])


def test_only_a_sphere_carries_spherical_laws():
    with pytest.raises(ValueError, match="on Hyperboloid; the manifold must be a Sphere"):
        OnSphere(Hyperboloid(2), HypersphericalUniform(2))
