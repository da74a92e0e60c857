"""The uniform distribution on the sphere: its area, its moments and its shapes."""

import math

import pytest
import torch
from scipy import special, stats
from torch.distributions import kl_divergence

from mcvae.distributions import HypersphericalUniform, has_closed_form
from mcvae.distributions.hyperspherical_uniform import OnUnitSphere, log_area

F64 = torch.float64


@pytest.mark.parametrize(("dim", "area"), [(1, 2 * math.pi), (2, 4 * math.pi), (3, 2 * math.pi**2)])
def test_areas_of_the_first_spheres(dim, area):
    assert math.exp(log_area(dim)) == pytest.approx(area)


@pytest.mark.parametrize("dim", [1, 2, 5, 30, 9999])
def test_spheres_are_made_of_circles_of_latitude(dim):
    """area(S^(dim+1)) = area(S^dim) ∫ sin^dim, a beta function."""
    assert log_area(dim + 1) - log_area(dim) == pytest.approx(special.betaln((dim + 1) / 2, 0.5), rel=1e-9)


@pytest.mark.parametrize("dim", [1, 2, 9, 500])
def test_draws_are_uniform(dim):
    d = HypersphericalUniform(dim, dtype=F64)
    z = d.sample((20_000,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(20_000, dtype=F64))
    first = stats.beta(dim / 2, dim / 2)  # of (1 + x_i)/2
    for axis in (0, dim):
        assert stats.kstest((1 + z[:, axis].numpy()) / 2, first.cdf).pvalue > 1e-3
    torch.testing.assert_close(d.variance, z.var(0), atol=5 / (20_000**0.5 * (dim + 1)) * 2**0.5, rtol=0)
    assert (d.mean == 0).all()


def test_log_prob_and_entropy_are_the_area():
    d = HypersphericalUniform(2, (3,), dtype=F64)
    torch.testing.assert_close(d.log_prob(d.sample((5,))), torch.full((5, 3), -math.log(4 * math.pi), dtype=F64))
    torch.testing.assert_close(d.entropy(), torch.full((3,), math.log(4 * math.pi), dtype=F64))
    assert kl_divergence(d, d).tolist() == [0, 0, 0] and has_closed_form(d, d)


def test_shapes_dtypes_and_expanding_follow_torch():
    d = HypersphericalUniform(4, dtype=torch.float32)
    assert (d.batch_shape, d.event_shape, d.has_rsample) == ((), (5,), True)
    e = d.expand((2, 3))
    assert (type(e), e.batch_shape, e.rsample((7,)).shape) == (HypersphericalUniform, (2, 3), (7, 2, 3, 5))
    assert e.mean.shape == e.variance.shape == (2, 3, 5)
    assert e.entropy().shape == (2, 3) and e.rsample().dtype == torch.float32
    assert e.log_prob(d.sample()).shape == (2, 3)
    assert d.log_prob(torch.eye(5, dtype=F64)).dtype == F64


def test_bad_arguments_are_refused_in_sentences():
    with pytest.raises(ValueError, match="dim=0; a sphere has at least one dimension"):
        HypersphericalUniform(0)
    with pytest.raises(ValueError, match="support"):
        HypersphericalUniform(2, validate_args=True).log_prob(torch.ones(3))
    with pytest.raises(ValueError, match="dim=2 and HypersphericalUniform of dim=3; both must lie on one sphere"):
        kl_divergence(HypersphericalUniform(2), HypersphericalUniform(3))
    assert str(OnUnitSphere(2)) == "a unit vector of 3 coordinates"


def test_it_compiles_and_maps():
    def step(x):
        d = HypersphericalUniform(2, validate_args=False)
        z = d.rsample(x.shape[:-1])
        return z, d.log_prob(x), kl_divergence(d, d)

    x = HypersphericalUniform(2).sample((4,))
    torch._dynamo.reset()
    z, log_prob, _ = torch.compile(step, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(4))
    z, mapped, _ = torch.func.vmap(step, randomness="different")(x)
    torch.testing.assert_close(mapped, log_prob)
    assert len(torch.unique(z)) == 12
