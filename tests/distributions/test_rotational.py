"""What von Mises-Fisher and power spherical share: exact draws, unbiased gradients, shapes, and no accidents."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from mcvae.distributions import HypersphericalUniform, PowerSpherical, VonMisesFisher, has_closed_form, kl
from mcvae.distributions.rotational import turn

F64 = torch.float64
FAMILIES = [VonMisesFisher, PowerSpherical]
AMBIENT = (2, 3, 5, 10, 50, 500)
CONCENTRATIONS = (0.5, 2.0, 10.0, 500.0)
THIN = {(2, 0.5), (3, 10.0), (5, 2.0), (10, 500.0), (50, 10.0), (500, 500.0)}
STRESS = [0.0, 1e-8, 1e-4, 0.05, 0.5, 2.0, 9.0, 19.9, 20.1, 100.0, 1e4, 1e6]

families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
cases = pytest.mark.parametrize(
    ("ambient", "kappa"),
    [
        pytest.param(a, k, marks=() if (a, k) in THIN else pytest.mark.full, id=f"{a}-{k:g}")
        for a in AMBIENT
        for k in CONCENTRATIONS
    ],
)


def draws(request, thin: int, full: int, ambient: int = 2) -> int:
    """Number of draws: ``full`` if the whole grid is run, but no more than 5e8 coordinates."""
    return thin if "not full" in request.config.getoption("-m") else min(full, 5 * 10**8 // ambient)


def unit(*shape: int, dtype=F64) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=dtype), dim=-1)


def moments(family, ambient: int, kappa: float) -> tuple[float, float, float]:
    """E[μ·x], its derivative in κ, and E[(μ·x)²]; Bessel functions from mpmath, or moments of a beta variable."""
    if family is VonMisesFisher:
        with mpmath.workdps(40):
            k, v = mpmath.mpf(kappa), mpmath.mpf(ambient) / 2 - 1
            if ambient > 500 and kappa > 500:  # there mpmath sums very long series
                mean = mpmath.mpf(0)
                for order in reversed(range(20_000)):
                    mean = 1 / (2 * (v + order + 1) / k + mean)
            else:
                mean = mpmath.besseli(v + 1, k) / mpmath.besseli(v, k)
            slope = 1 - mean**2 - (ambient - 1) * mean / k
            return float(mean), float(slope), float(1 - (ambient - 1) * mean / k)
    dim = ambient - 1
    cosine = stats.beta(kappa + dim / 2, dim / 2)
    mean, variance = 2 * cosine.mean() - 1, 4 * cosine.var()
    return mean, dim / (kappa + dim) ** 2, variance + mean**2


def within(values: torch.Tensor, expected, errors: float = 4) -> bool:
    """Whether the mean over the first axis lies within four of its standard errors."""
    error = values.std(0) / len(values) ** 0.5
    return bool(((values.mean(0) - torch.as_tensor(expected)).abs() <= errors * error + 1e-12).all())


@families
@cases
def test_gradient_of_the_mean_cosine_in_the_concentration_is_unbiased(request, family, ambient, kappa):
    chunks = 50
    size = draws(request, 10_000, 1_000_000, ambient) // chunks
    loc, gradients = unit(ambient), []
    for _ in range(chunks):
        concentration = torch.tensor(kappa, dtype=F64, requires_grad=True)
        z = family(loc, concentration).rsample((size,))
        (z @ loc).mean().backward()
        gradients.append(concentration.grad)
    assert within(torch.stack(gradients), moments(family, ambient, kappa)[1])


def test_gradient_of_the_mean_cosine_is_the_one_that_rejection_sampling_misses():
    """0.147389 at ambient dimension 5 and κ = 2, where the usual sampler's gradient is 0.1277."""
    assert moments(VonMisesFisher, 5, 2.0)[1] == pytest.approx(0.147389, abs=1e-6)
    loc, kappa = unit(5), torch.tensor(2.0, dtype=F64, requires_grad=True)
    (VonMisesFisher(loc, kappa).rsample((50_000,)) @ loc).mean().backward()
    assert kappa.grad.item() == pytest.approx(0.147389, abs=0.004)


@families
@cases
def test_gradient_of_a_second_moment_in_the_location_is_unbiased(request, family, ambient, kappa):
    chunks = 50
    size = draws(request, 10_000, 1_000_000, ambient) // chunks
    concentration, mu, a = torch.tensor(kappa, dtype=F64), unit(ambient), unit(ambient)
    square = moments(family, ambient, kappa)[2]
    along, off = a - (a @ mu) * mu, unit(ambient)
    along = along / along.norm()
    off = off - (off @ mu) * mu
    off = off - (off @ along) * along
    gradients = []
    for _ in range(chunks):
        loc = mu.clone().requires_grad_()
        (family(loc, concentration).rsample((size,)) @ a).square().mean().backward()
        gradients.append(torch.stack([loc.grad @ along, loc.grad @ off]))
    # E[(a·x)²] = s + (E[(μ·x)²] - s) (a·μ)² with s = (1 - E[(μ·x)²]) / dim
    exact = 2 * (square - (1 - square) / (ambient - 1)) * (a @ mu) * (a @ along)
    assert within(torch.stack(gradients), torch.stack([exact, torch.zeros_like(exact)]))


@families
@pytest.mark.parametrize("first", [1.0, -1.0, 1 - 1e-14, -1 + 1e-14, 0.0])
def test_gradient_in_the_location_is_unbiased_and_of_bounded_spread_at_the_poles_of_the_frame(family, first):
    mu = torch.tensor([first, (1 - first**2) ** 0.5, 0.0], dtype=F64)
    kappa, a = torch.tensor(3.0, dtype=F64), unit(3)
    loc = mu.expand(30_000, 3).clone().requires_grad_()
    (family(loc, kappa).rsample() @ a).square().sum().backward()
    gradients = loc.grad - (loc.grad @ mu)[:, None] * mu
    square = moments(family, 3, 3.0)[2]
    exact = 2 * (square - (1 - square) / 2) * (a @ mu) * (a - (a @ mu) * mu)
    assert within(gradients, exact, 4.5)
    assert gradients.abs().max() < 10


@families
@cases
def test_draws_have_the_mean_cosine(request, family, ambient, kappa):
    n, loc = draws(request, 10_000, 1_000_000, ambient), unit(ambient)
    d = family(loc, torch.tensor(kappa, dtype=F64))
    cosines = torch.cat([d.sample((n // 10,)) @ loc for _ in range(10)])
    assert within(cosines, moments(family, ambient, kappa)[0])


@families
@pytest.mark.parametrize("ambient", [1000, 10_000])
@pytest.mark.parametrize("kappa", [0.5, 500.0, 1e4])
def test_angles_have_the_mean_cosine_in_many_dimensions(request, family, ambient, kappa, angle_at):
    d = family(unit(ambient), torch.tensor(kappa, dtype=F64))
    cosine = angle_at(d, torch.rand(draws(request, 100_000, 1_000_000), dtype=F64)).cos()
    assert within(cosine, moments(family, ambient, kappa)[0])


@families
@pytest.mark.parametrize("ambient", [2, 3, 10, 1000])
@pytest.mark.parametrize("kappa", [1e-8, 0.05, 2.0, 100.0, 1e4])
def test_mean_and_variance_are_the_exact_ones(family, ambient, kappa):
    mean, slope, square = moments(family, ambient, kappa)
    loc = unit(7, ambient)
    d = family(loc, torch.tensor(kappa, dtype=F64))
    torch.testing.assert_close(d.mean, mean * loc, rtol=1e-9, atol=1e-15)
    along = slope if family is VonMisesFisher else square - mean**2
    across = (1 - square) / (ambient - 1)
    torch.testing.assert_close(d.variance, along * loc**2 + across * (1 - loc**2), rtol=1e-6, atol=1e-15)
    assert torch.equal(d.mode, loc)


@families
@pytest.mark.parametrize("kappa", [0.3, 4.0, 60.0])
@pytest.mark.parametrize("dim", [1, 2, 6])
def test_entropy_is_the_mean_of_minus_the_log_density(family, dim, kappa):
    d = family(unit(dim + 1), torch.tensor(kappa, dtype=F64))
    assert within(-d.log_prob(d.sample((50_000,))), d.entropy())


@families
@pytest.mark.parametrize("dim", [1, 2, 6])
def test_no_concentration_is_the_uniform_distribution(family, dim):
    loc = unit(4, dim + 1)
    kappa = torch.zeros(4, dtype=F64, requires_grad=True)
    d, uniform = family(loc, kappa), HypersphericalUniform(dim, dtype=F64)
    z = d.rsample((3,))
    torch.testing.assert_close(d.log_prob(z), uniform.log_prob(z))
    torch.testing.assert_close(d.entropy(), uniform.entropy().expand(4))
    torch.testing.assert_close(d.mean, torch.zeros_like(loc), atol=1e-12, rtol=0)
    torch.testing.assert_close(d.variance, uniform.variance.expand(4, -1))
    divergence = kl(d, uniform, z)
    assert (divergence == 0).all()
    (gradient,) = torch.autograd.grad(divergence.sum(), kappa)
    assert (gradient == 0).all()


@families
@pytest.mark.parametrize("dim", [1, 2, 9])
@pytest.mark.parametrize("kappa", [0.01, 2.0, 300.0])
def test_gradients_of_density_entropy_and_moments_are_those_of_finite_differences(family, dim, kappa):
    x = unit(5, dim + 1)
    y = torch.randn(5, dim + 1, dtype=F64, requires_grad=True)
    kappa = torch.full((5,), kappa, dtype=F64, requires_grad=True)

    def evaluate(x, y, kappa):
        normalised = [torch.nn.functional.normalize(each, dim=-1) for each in (x, y)]
        d = family(normalised[1], kappa)
        return d.log_prob(normalised[0]), d.entropy(), d.mean, d.variance

    assert torch.autograd.gradcheck(evaluate, (x.requires_grad_(), y, kappa), eps=1e-7, atol=1e-4, rtol=1e-4)


@families
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("ambient", [2, 3, 11, 128, 10_000])
def test_nothing_overflows_and_draws_stay_on_the_sphere(family, dtype, ambient):
    loc = unit(len(STRESS), ambient, dtype=dtype).requires_grad_()
    kappa = torch.tensor(STRESS, dtype=dtype, requires_grad=True)
    d = family(loc, kappa)
    z = d.rsample((max(8, 20_000 // ambient),))
    assert z.dtype == dtype
    assert ((z.double().norm(dim=-1) - 1).abs() <= (1e-5 if dtype is torch.float32 else 1e-12)).all()
    results = [
        d.log_prob(z),
        d.entropy(),
        d.mean,
        d.variance,
        kl(d, HypersphericalUniform(ambient - 1, dtype=dtype), z),
    ]
    sum(each.sum() for each in [z, *results]).backward()
    for each in [*results, loc.grad, kappa.grad]:
        assert each.dtype == dtype
        assert torch.isfinite(each).all()


@pytest.mark.full
@families
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("ambient", [2, 3, 11])
def test_ten_million_draws_are_finite_and_on_the_sphere(family, dtype, ambient):
    d = family(unit(len(STRESS), ambient, dtype=dtype), torch.tensor(STRESS, dtype=dtype))
    for _ in range(34):
        z = d.sample((25_000,))
        assert ((z.square().sum(-1) - 1).abs() <= 1e-5).all()
        assert torch.isfinite(d.log_prob(z)).all()


@families
@pytest.mark.parametrize("dim", [1, 2, 3, 20])
@pytest.mark.parametrize("kappa", STRESS)
def test_extreme_lengths_give_finite_increasing_angles_and_gradients(family, dim, kappa):
    length = torch.tensor([1e-30, 1e-6, 0.1, dim**0.5, dim**0.5 + 4, dim**0.5 + 9], dtype=F64)
    kappa = torch.tensor(kappa, dtype=F64, requires_grad=True)
    angle = family(unit(dim + 1), kappa)._angle(length, kappa)
    (angle.cos() + angle.sin()).sum().backward()
    assert torch.isfinite(angle).all() and torch.isfinite(kappa.grad)
    assert (angle >= 0).all() and (angle.diff() >= -1e-12).all()


@families
def test_the_antipode_has_a_finite_density_and_gradient(family):
    loc = torch.tensor([[0.6, 0.8], [0.6, 0.8]], dtype=F64, requires_grad=True)
    x = torch.tensor([[0.6, 0.8], [-0.6, -0.8]], dtype=F64, requires_grad=True)
    log_prob = family(loc, torch.tensor(2.0, dtype=F64)).log_prob(x)
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all() and log_prob[0] > log_prob[1] + 1
    assert torch.isfinite(loc.grad).all() and torch.isfinite(x.grad).all()


def test_turning_is_an_isometry_of_the_tangent_space():
    for loc in [*unit(20, 4), *(torch.eye(4, dtype=F64)), *(-torch.eye(4, dtype=F64))]:
        zero, one = torch.zeros(3, dtype=F64), torch.ones(3, dtype=F64)
        tangents = turn(loc, zero, one, torch.eye(3, dtype=F64))
        torch.testing.assert_close(tangents @ tangents.T, torch.eye(3, dtype=F64))
        torch.testing.assert_close(tangents @ loc, zero)


@families
def test_shapes_follow_torch(family):
    d = family(unit(5, 1, 4), torch.rand(3, dtype=F64))
    assert (d.batch_shape, d.event_shape) == ((5, 3), (4,))
    assert d.rsample((2, 7)).shape == (2, 7, 5, 3, 4)
    assert d.sample().shape == d.mean.shape == d.variance.shape == d.mode.shape == (5, 3, 4)
    assert d.entropy().shape == (5, 3)
    assert d.log_prob(d.sample((2,))).shape == (2, 5, 3)
    assert d.log_prob(unit(4)).shape == (5, 3)
    assert d.has_rsample and d.support.check(d.sample()).all()


@families
def test_expanding_changes_shapes_only(family):
    d = family(unit(1, 4), torch.rand(3, dtype=F64))
    e = d.expand((6, 3))
    assert (type(e), e.batch_shape, e.event_shape) == (family, (6, 3), (4,))
    x = unit(6, 3, 4)
    torch.testing.assert_close(e.log_prob(x), d.log_prob(x))
    torch.testing.assert_close(e.entropy(), d.entropy().expand(6, 3))
    torch.manual_seed(1)
    first = e.sample()
    torch.manual_seed(1)
    torch.testing.assert_close(first, d.sample((6,)))


@families
def test_bad_arguments_are_refused_in_sentences(family):
    loc, kappa = unit(3, 4), torch.ones(3, dtype=F64)
    with pytest.raises(ValueError, match=r"parameter loc .* a unit vector of 4 coordinates"):
        family(1.1 * loc, kappa, validate_args=True)
    with pytest.raises(ValueError, match="parameter concentration"):
        family(loc, -kappa, validate_args=True)
    with pytest.raises(ValueError, match=r"loc of shape \[3, 1\]; the last axis must be dim \+ 1, at least 2"):
        family(torch.ones(3, 1), torch.ones(3), validate_args=True)
    with pytest.raises(ValueError, match="do not broadcast"):
        family(loc, torch.ones(2, dtype=F64), validate_args=True)
    d = family(loc, kappa, validate_args=True)
    with pytest.raises(ValueError, match="support"):
        d.log_prob(2 * loc)
    with pytest.raises(ValueError, match="event_shape"):
        d.log_prob(unit(3, 5))
    family(1.1 * loc, -kappa, validate_args=False)


@families
def test_divergence_of_other_spheres_is_refused(family):
    d = family(unit(4), torch.tensor(1.0, dtype=F64))
    with pytest.raises(ValueError, match=r"dim=3 and HypersphericalUniform of dim=2; both must lie on one sphere"):
        kl(d, HypersphericalUniform(2), d.sample())


@families
def test_divergence_is_zero_order_two_in_small_concentrations(family):
    """κ²/2 times the variance of μ·x (von Mises-Fisher), of log(1 + μ·x) (power spherical), under the uniform one."""
    dim, kappa = 6, 1e-6
    nodes, weights = np.polynomial.legendre.leggauss(400)
    angle = (nodes + 1) * math.pi / 2
    weights = weights * np.sin(angle) ** (dim - 1)
    statistic = np.cos(angle) if family is VonMisesFisher else np.log1p(np.cos(angle))
    mean = np.average(statistic, weights=weights)
    variance = np.average((statistic - mean) ** 2, weights=weights)
    d = family(unit(dim + 1), torch.tensor(kappa, dtype=F64))
    divergence = kl(d, HypersphericalUniform(dim, dtype=F64), d.mode)
    assert divergence.item() == pytest.approx(kappa**2 / 2 * variance, rel=1e-5)


@families
def test_divergence_from_uniform_is_closed(family):
    d = family(unit(3, 4), torch.rand(3, dtype=F64))
    assert has_closed_form(d, HypersphericalUniform(3)) and not has_closed_form(HypersphericalUniform(3), d)


def step(family, loc, concentration):
    q = family(loc, concentration, validate_args=False)
    z = q.rsample()
    return z, q.log_prob(z), kl(q, HypersphericalUniform(loc.shape[-1] - 1, validate_args=False), z), q.entropy()


@pytest.mark.slow
@families
@pytest.mark.parametrize("dim", [1, 2, pytest.param(40, marks=pytest.mark.full)])
def test_draws_densities_and_divergences_compile_as_one_graph(family, dim):
    torch._dynamo.reset()
    torch.distributions.kl._KL_MEMOIZE.clear()  # the search on a first call must not be part of the graph
    loc, kappa = unit(8, dim + 1, dtype=torch.float32).requires_grad_(), torch.full((8,), 3.0, requires_grad=True)

    def evaluate(function):
        torch.manual_seed(3)
        results = function(family, loc, kappa)
        return [*results, *torch.autograd.grad(sum(each.sum() for each in results), (loc, kappa))]

    compiled = evaluate(torch.compile(step, fullgraph=True, backend="aot_eager"))
    for left, right in zip(compiled, evaluate(step), strict=True):
        torch.testing.assert_close(left, right)


@families
@pytest.mark.parametrize("dim", [1, 2, 40])
def test_draws_densities_and_divergences_map(family, dim):
    loc, kappa = unit(8, dim + 1), torch.full((8,), 3.0, dtype=F64)
    mapped = torch.func.vmap(lambda m, k: step(family, m, k), randomness="different")
    z, log_prob, divergence, entropy = mapped(loc, kappa)
    assert len(torch.unique(z[:, 0])) == (8 if dim > 1 else len(torch.unique(z[:, 0])))
    d = family(loc, kappa)
    torch.testing.assert_close(log_prob, d.log_prob(z))
    torch.testing.assert_close(entropy, d.entropy())
    torch.testing.assert_close(divergence, kl(d, HypersphericalUniform(dim), z))
