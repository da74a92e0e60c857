"""The Riemannian normal: its radius, constant, gradients and limits against scipy's quadrature."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Independent, Normal

from mcvae.distributions import RiemannianNormal
from mcvae.distributions.riemannian_normal import largest_scale
from mcvae.manifolds import MANIFOLDS, Euclidean, Hyperboloid, PoincareBall, Sphere

F64 = torch.float64
DTYPES = {"float32": torch.float32, "float64": F64}
SIGN = {"h": -1, "p": -1, "s": 1}


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


class Oracle:
    """The law of the radius by numpy and scipy."""

    def __init__(self, dim: int, k: float, scale: float):
        self.dim, self.k, self.scale = dim, k, scale
        far = math.pi / k**0.5 if k > 0 else dim * abs(k) ** 0.5 * scale**2 + scale * (dim**0.5 + 12)
        r = np.linspace(0, far, 400_001)[1:-1]
        peak = r[np.argmax(self.log_density(r))]
        inside = r[self.log_density(r) > self.log_density(peak) - 50]  # a uniform grid where the mass is
        self.ends = (max(0.0, inside[0] - 1e-4 * far), min(far, inside[-1] + 1e-4 * far))
        self.peak = self.log_density(peak)

    def log_density(self, r):
        q = abs(self.k) ** 0.5
        with np.errstate(divide="ignore"):
            if self.k < 0:  # log sinh without overflow
                log_sine = q * r + np.log(-np.expm1(-2 * q * r) / (2 * q))
            else:
                log_sine = np.log(np.abs(np.sin(q * r)) / q) if self.k else np.log(r)
        return (self.dim - 1) * log_sine - r * r / (2 * self.scale**2) if self.dim > 1 else -((r / self.scale) ** 2) / 2

    def integral(self, function=lambda r: 1.0) -> float:
        edges = np.linspace(*self.ends, 9)
        parts = [
            integrate.quad(
                lambda r: function(r) * np.exp(self.log_density(r) - self.peak), *ends, epsabs=1e-14, epsrel=1e-12
            )[0]
            for ends in itertools.pairwise(edges)
        ]
        return math.fsum(parts)

    @functools.cached_property
    def log_normaliser(self) -> float:
        log_area = math.log(2) + self.dim / 2 * math.log(math.pi) - math.lgamma(self.dim / 2)
        return log_area + self.peak + math.log(self.integral())

    @property
    def mean_square(self) -> float:
        return self.integral(np.square) / self.integral()

    def cdf(self, r):
        grid = np.linspace(*self.ends, 20_001)
        cumulative = integrate.cumulative_simpson(np.exp(self.log_density(grid) - self.peak), x=grid, initial=0)
        return np.interp(r, grid, cumulative / cumulative[-1])


def derivative(function, x: float, step: float) -> float:
    """Central differences of fourth order."""
    near, far = (function(x + n * step) - function(x - n * step) for n in (1, 2))
    return (8 * near - far) / (12 * step)


def allowed(manifold, scale: float, dtype: torch.dtype) -> bool:
    return scale <= largest_scale(manifold, dtype).item()


def cases() -> list:
    """(letter, dim, signed k, scale) inside the range that float64 allows; few by default."""
    thin = {("h", 2, 1.0, 1.0), ("h", 5, 10.0, 1.0), ("h", 20, 1.0, 0.8), ("h", 2, 1.0, 3.8), ("h", 1, 1.0, 2.0)}
    thin |= {("h", 5, 1e-4, 3.0), ("s", 1, 1.0, 2.0), ("s", 2, 1.0, 1.0), ("s", 20, 10.0, 5.0), ("s", 5, 1e-4, 0.1)}
    thin |= {("p", 5, 1.0, 1.0), ("p", 2, 0.3, 0.5), ("s", 3, 1.0, 30.0)}
    grid = set(itertools.product("hs", (1, 2, 5, 20, 100), (1e-4, 1.0, 10.0), (0.01, 0.3, 1.0, 4.0)))
    grid |= set(itertools.product("p", (2, 5), (1e-4, 1.0, 10.0), (0.1, 1.0)))
    return [
        pytest.param(
            letter,
            dim,
            k * SIGN[letter],
            scale,
            marks=() if (letter, dim, k, scale) in thin else pytest.mark.full,
            id=f"{letter}{dim}:k={k * SIGN[letter]:g}-{scale:g}",
        )
        for letter, dim, k, scale in sorted(thin | grid)
        if allowed(MANIFOLDS[letter](dim, k=k * SIGN[letter]), scale, F64)
    ]


every_case = pytest.mark.parametrize(("letter", "dim", "k", "scale"), cases())


def off_origin(manifold, dtype: torch.dtype = F64) -> torch.Tensor:
    unit = manifold.k.abs().item() ** -0.5
    direction = torch.nn.functional.normalize(torch.linspace(-1, 2, manifold.dim, dtype=F64), dim=0)
    return manifold.expmap0((0.5 * unit * direction).to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@every_case
def test_radius_follows_the_quadrature(letter, dim, k, scale, dtype):
    manifold, dtype = MANIFOLDS[letter](dim, k=k), DTYPES[dtype]
    if not allowed(manifold, scale, dtype):
        pytest.skip("beyond the range of float32")
    q = RiemannianNormal(manifold, None, torch.tensor([scale], dtype=dtype))
    r = manifold.logmap0(q.sample((100_000,)).double()).norm(dim=-1)
    assert stats.kstest(r.numpy(), Oracle(dim, k, scale).cdf).pvalue > 0.001


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("letter", "hp")
@pytest.mark.parametrize("dim", [2, 5, 20])
@pytest.mark.parametrize("k", [-0.01, -1.0, -10.0])
def test_radius_follows_the_quadrature_up_to_the_largest_scale(letter, dim, k, dtype):
    """There the mode lies at 15 (8 in float32), or as far as the space can tell points apart."""
    manifold, dtype = MANIFOLDS[letter](dim, k=k), DTYPES[dtype]
    scale = largest_scale(manifold, dtype)
    assert (
        letter == "p"
        or k == -10
        or (dim - 1) * abs(k) ** 0.5 * scale**2 == pytest.approx(15 if dtype is F64 else 8, rel=1e-3)
    )
    q = RiemannianNormal(manifold, None, scale)
    r = manifold.logmap0(q.sample((100_000,)).double()).norm(dim=-1)
    assert stats.kstest(r.numpy(), Oracle(dim, k, scale.item()).cdf).pvalue > 0.001


@pytest.mark.parametrize("letter", "hps")
def test_draws_surround_the_location_evenly(letter):
    manifold = MANIFOLDS[letter](3, k=0.8 * SIGN[letter])
    loc = off_origin(manifold)
    q = RiemannianNormal(manifold, loc, tensor(0.6))
    u = manifold.logmap_frame(loc, q.sample((50_000,)))
    r = u.norm(dim=-1)
    assert stats.kstest(r.numpy(), Oracle(3, manifold.k.item(), 0.6).cdf).pvalue > 0.001
    for axis in (u / r.unsqueeze(-1)).unbind(-1):  # Archimedes: uniform in [-1, 1]
        assert stats.kstest(axis.numpy(), "uniform", args=(-1, 2)).pvalue > 0.001


@every_case
def test_normaliser_and_entropy_are_those_of_the_quadrature(letter, dim, k, scale):
    manifold, oracle = MANIFOLDS[letter](dim, k=k), Oracle(dim, k, scale)
    q = RiemannianNormal(manifold, None, tensor(scale))
    assert q.log_prob(q.loc).item() == pytest.approx(-oracle.log_normaliser, rel=1e-10, abs=1e-10)
    entropy = oracle.log_normaliser + oracle.mean_square / (2 * scale**2)
    assert q.entropy().item() == pytest.approx(entropy, rel=1e-10, abs=1e-10)


@every_case
def test_normaliser_has_the_gradient_of_the_quadrature(letter, dim, k, scale):
    manifold = MANIFOLDS[letter](dim, k=k, learn=True)
    sigma = tensor(scale).requires_grad_()
    value = RiemannianNormal(manifold, None, sigma, validate_args=False).log_prob(manifold.origin(dtype=F64).detach())
    by_scale, by_log_k = torch.autograd.grad(value, [sigma, manifold.log_curvature])
    by_scale_oracle = derivative(lambda s: -Oracle(dim, k, s).log_normaliser, scale, 2e-3 * scale)
    by_k_oracle = derivative(lambda c: -Oracle(dim, c, scale).log_normaliser, k, 2e-3 * abs(k))
    assert by_scale.item() * scale == pytest.approx(by_scale_oracle * scale, rel=1e-6, abs=1e-8)
    # Where curvature hardly matters, the differences of the quadrature are rounding errors.
    assert by_log_k.item() == pytest.approx(by_k_oracle * k, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("manifold", [Hyperboloid(2, k=-0.7), Sphere(2, k=1.3), PoincareBall(2, k=-0.7)], ids=str)
@pytest.mark.parametrize("scale", [0.2, 1.0, 2.0])
def test_density_integrates_to_one_around_a_location(manifold, scale):
    """In polar coordinates around the origin, away from which the density is centred."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    reach = math.pi / manifold.k.item() ** 0.5 if manifold.sign > 0 else 0.7 + manifold.dim * scale**2 + 9 * scale
    r = torch.tensor((nodes + 1) / 2 * reach)
    angle = torch.arange(400, dtype=F64) * (2 * math.pi / 400)
    u = r[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    area = torch.tensor(weights * reach / 2) * r * (2 * math.pi / 400)
    log_prob = RiemannianNormal(manifold, off_origin(manifold), tensor(scale)).log_prob(manifold.expmap0(u))
    mass = ((log_prob + manifold.logdetexp0(u)).exp() * area[:, None]).sum().item()
    assert mass == pytest.approx(1, abs=1e-6)


@every_case
def test_pathwise_gradients_are_unbiased(letter, dim, k, scale):
    """d/dscale and d/dk of E[dist(loc, z)²], from batches whose spread is the standard error."""
    batches, draws = 50, 4_000 if dim <= 5 else 1_000
    manifold = MANIFOLDS[letter](dim, k=k, learn=True, count=batches)
    sigma = torch.full((batches, 1), scale, dtype=F64, requires_grad=True)
    z = RiemannianNormal(manifold, None, sigma, validate_args=False).rsample((draws,))
    square = manifold.logmap0(z).square().sum(-1).mean(0)
    by_scale, by_log_k = torch.autograd.grad(square.sum(), [sigma, manifold.log_curvature])

    # With respect to log scale and log |k|, so that rounding errors of the differences are small beside scale².
    for gradient, exact in (
        (
            by_scale.squeeze(-1) * scale,
            derivative(lambda s: Oracle(dim, k, s).mean_square, scale, 2e-3 * scale) * scale,
        ),
        (by_log_k, derivative(lambda c: Oracle(dim, c, scale).mean_square, k, 2e-3 * abs(k)) * k),
    ):
        error = gradient.std() / batches**0.5
        assert (gradient.mean() - exact).abs() <= 4 * error + 1e-6 * abs(exact) + 1e-9 * scale**2


@pytest.mark.parametrize("letter", "hps")
@pytest.mark.parametrize("of", ["scale", "curvature"])
def test_pathwise_gradients_are_those_of_the_draws(letter, of):
    """With the noise held fixed, finite differences of the draws themselves."""

    def draws(scale, log_k):
        torch.manual_seed(3)
        manifold = MANIFOLDS[letter](3, k=SIGN[letter], learn=True)
        manifold.log_curvature.data = log_k.detach()
        q = RiemannianNormal(manifold, None, scale, validate_args=False)
        return manifold, manifold.logmap0(q.rsample((200,))).norm(dim=-1)

    scale, log_k, step = tensor(0.9).requires_grad_(), tensor(0.2)[0], 1e-5
    manifold, r = draws(scale, log_k)
    weights = torch.linspace(-1, 1, 200, dtype=F64)
    parameter = scale if of == "scale" else manifold.log_curvature
    (gradient,) = torch.autograd.grad((weights * r).sum(), [parameter])
    ends = [draws(scale + s, log_k) if of == "scale" else draws(scale, log_k + s) for s in (step, -step)]
    numeric = (weights * (ends[0][1] - ends[1][1])).sum() / (2 * step)
    assert gradient.item() == pytest.approx(numeric.item(), rel=1e-6)


def test_euclidean_riemannian_normal_is_the_normal():
    manifold, loc = Euclidean(4), torch.randn(6, 4, dtype=F64)
    scale = torch.rand(6, 1, dtype=F64) + 0.2
    ours, theirs = RiemannianNormal(manifold, loc, scale), Independent(Normal(loc, scale), 1)
    z = torch.randn(6, 4, dtype=F64)
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z))
    torch.testing.assert_close(ours.entropy(), Independent(Normal(loc, scale.expand(6, 4)), 1).entropy())
    r = (ours.sample((20_000,)) - loc)[:, 0].norm(dim=-1) / scale[0]
    assert stats.kstest(r.numpy(), stats.chi(4).cdf).pvalue > 0.001


@pytest.mark.parametrize("letter", "hps")
@pytest.mark.parametrize("k", [1e-4, 1e-6])
def test_density_meets_the_normal_as_k_goes_to_zero(letter, k):
    u, m = torch.randn(2, 20, 3, dtype=F64)
    manifold = MANIFOLDS[letter](3, k=k * SIGN[letter])
    loc = manifold.expmap0(m)
    flat = Independent(Normal(m, 1.3), 1)
    log_prob = RiemannianNormal(manifold, loc, tensor(1.3)).log_prob(manifold.expmap0(u))
    assert (log_prob - flat.log_prob(u)).abs().max() < 100 * k


@pytest.mark.parametrize("dim", [1, 2, 10])
def test_radius_and_gradients_pass_through_flat_space(dim):
    """Equal noise gives radii that differ by O(k), and d log Z / dk at k = 0 is -dim (dim - 1) scale² / 6."""
    radii, scale = [], 0.7
    for manifold in (Hyperboloid(dim, k=-1e-6, learn=True), Sphere(dim, k=1e-6, learn=True), Euclidean(dim)):
        torch.manual_seed(1)
        q = RiemannianNormal(manifold, None, tensor(scale), validate_args=False)
        z = q.rsample((500,))
        radius = manifold.logmap0(z).norm(dim=-1)
        radii.append(radius.detach())
        if manifold.sign:
            k = manifold.k.item()
            (by_log_k,) = torch.autograd.grad(-q.log_prob(manifold.origin(dtype=F64)), [manifold.log_curvature])
            assert by_log_k.item() / k == pytest.approx(-dim * (dim - 1) * scale**2 / 6, rel=1e-4, abs=1e-8)
            (by_log_k,) = torch.autograd.grad(radius.sum(), [manifold.log_curvature])
            radii.append(by_log_k / k)
    hyperbolic, slope_below, spherical, slope_above, flat = radii
    assert (hyperbolic - flat).abs().max() < 1e-4 and (spherical - flat).abs().max() < 1e-4
    torch.testing.assert_close(slope_below, slope_above, rtol=1e-4, atol=1e-5)


def test_densities_are_equal_at_corresponding_points_of_hyperboloid_and_ball():
    def project(z, k):
        return z[..., 1:] / (1 + (-k) ** 0.5 * z[..., :1])  # the stereographic projection

    for k in (-0.3, -1.0, -4.0):
        hyperboloid, ball = Hyperboloid(3, k=k), PoincareBall(3, k=k)
        loc, z = hyperboloid.random(2, 40, dtype=F64)
        results = []
        for manifold, centre, point in ((hyperboloid, loc, z), (ball, project(loc, k), project(z, k))):
            scale = tensor(0.8).requires_grad_()
            value = RiemannianNormal(manifold, centre, scale).log_prob(point)
            results.append((value, torch.autograd.grad(value.sum(), scale)[0]))
        for left, right in zip(*results, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


def stress_cases() -> list:
    thin = {("h", 2, 1.0), ("h", 20, 10.0), ("s", 2, 10.0), ("s", 50, 1e-4), ("p", 2, 1.0), ("p", 20, 1e-4)}
    grid = set(itertools.product("hps", (1, 2, 5, 50), (1e-4, 1.0, 10.0))) - thin
    return [pytest.param(*case, id=str(case)) for case in sorted(thin)] + [
        pytest.param(*case, id=str(case), marks=pytest.mark.full) for case in sorted(grid)
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("letter", "dim", "k"), stress_cases())
def test_draws_are_on_the_manifold_and_all_is_finite(letter, dim, k, dtype, request):
    dtype, n = DTYPES[dtype], 100_000 if request.node.get_closest_marker("full") else 2_000
    manifold = MANIFOLDS[letter](dim, k=k * SIGN[letter], learn=True)
    largest = largest_scale(manifold, dtype).detach().clamp_max(30.0)
    for scale in (1e-4 * largest, 0.1 * largest, largest):
        scale = scale.detach().requires_grad_()
        q = RiemannianNormal(manifold, None, scale, remember=True, validate_args=False)
        z = q.rsample((n,))
        assert torch.isfinite(z).all()
        if letter == "p":
            assert (k * z.double().square().sum(-1) < 1).all()
        else:
            exact = z.double()
            product = exact[..., 1:].square().sum(-1) + SIGN[letter] * exact[..., 0].square()
            excess = (product - SIGN[letter] / k).abs() / exact[..., 0].square().clamp_min(1 / k)
            assert excess.max() < (1e-5 if dtype is torch.float32 else 1e-13)
        log_prob = q.log_prob(z)
        gradients = torch.autograd.grad(
            (log_prob + manifold.logmap0(z).square().sum(-1)).sum(), [scale, manifold.log_curvature]
        )
        assert torch.isfinite(log_prob).all() and all(torch.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    "manifold", [Sphere(2), Hyperboloid(3), Euclidean(2), Hyperboloid(2, k=[-1.0, -2.0, -0.1], count=3)], ids=str
)
def test_shapes_are_those_of_torch_distributions(manifold):
    batch = (5, *manifold.batch_shape)
    q = RiemannianNormal(manifold, manifold.random(5), torch.full((1,), 0.7))
    assert q.batch_shape == batch and q.event_shape == (manifold.ambient_dim,)
    z = q.rsample((7,))
    assert z.shape == (7, *batch, manifold.ambient_dim)
    assert q.log_prob(z).shape == (7, *batch)
    assert q.entropy().shape == batch
    assert torch.equal(q.mean, q.loc) and torch.equal(q.mode, q.loc)
    wider = q.expand((2, *batch))
    assert wider.batch_shape == (2, *batch)
    assert wider.sample().shape == (2, *batch, manifold.ambient_dim)
    torch.testing.assert_close(wider.log_prob(z[0]), q.log_prob(z[0]).expand(2, *batch))
    p = RiemannianNormal(manifold, None, torch.ones(1))
    assert p.batch_shape == manifold.batch_shape
    assert torch.equal(p.loc, manifold.origin()) and p.mean.shape == (*p.batch_shape, manifold.ambient_dim)
    assert q.has_rsample and "RiemannianNormal" in repr(q)


def test_scales_broadcast_against_locations():
    manifold = Hyperboloid(2)
    loc, scale = manifold.random(4, 3), torch.rand(4, 1, 1) + 0.3
    q = RiemannianNormal(manifold, loc, scale)
    z = q.sample((2,))
    assert q.batch_shape == (4, 3) and z.shape == (2, 4, 3, 3)
    expected = torch.stack([RiemannianNormal(manifold, loc[i], scale[i]).log_prob(z[:, i]) for i in range(4)], 1)
    torch.testing.assert_close(q.log_prob(z), expected)


def test_stacked_copies_are_the_single_spaces():
    ks = [-0.2, -1.0, -3.0]
    stacked = Hyperboloid(3, k=ks, count=3)
    loc, scale = stacked.random(5, dtype=F64), torch.rand(5, 3, 1, dtype=F64) + 0.2
    q = RiemannianNormal(stacked, loc, scale)
    z = q.sample()
    for i, k in enumerate(ks):
        single = RiemannianNormal(Hyperboloid(3, k=k), loc[:, i], scale[:, i])
        torch.testing.assert_close(q.log_prob(z)[:, i], single.log_prob(z[:, i]))
        torch.testing.assert_close(q.entropy()[:, i], single.entropy())


@pytest.mark.parametrize("manifold", [Hyperboloid(2), Sphere(3, k=0.5)], ids=str)
def test_remembered_draws_have_the_same_density_and_gradient(manifold):
    results = []
    for remember in (True, False):
        torch.manual_seed(2)
        u = (0.5 * torch.randn(40, manifold.dim, dtype=F64)).requires_grad_()
        scale = (torch.rand(40, 1, dtype=F64) + 0.1).requires_grad_()
        q = RiemannianNormal(manifold, manifold.expmap0(u), scale, remember=remember)
        value = q.log_prob(q.rsample())
        gradients = torch.autograd.grad(value.sum(), [u, scale], allow_unused=True, materialize_grads=True)
        results.append((value, *gradients))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-7)


def test_a_draw_without_gradients_is_not_remembered_for_them():
    manifold = Hyperboloid(2)
    u = torch.full((2,), 0.3, dtype=F64, requires_grad=True)
    scores = []
    for remember in (True, False):
        torch.manual_seed(2)
        q = RiemannianNormal(manifold, manifold.expmap0(u), tensor(1.0), remember=remember)
        scores.append(torch.autograd.grad(q.log_prob(q.sample()), u)[0])
    assert scores[0].norm() > 0.1
    torch.testing.assert_close(*scores)


def density_of_draws(manifold, u, scale):
    q = RiemannianNormal(manifold, manifold.expmap0(u), scale, remember=True, validate_args=False)
    p = RiemannianNormal(manifold, None, torch.ones(1), validate_args=False)
    z = q.rsample()
    return q.log_prob(z) - p.log_prob(z)


@pytest.mark.parametrize("manifold", [Hyperboloid(3, learn=True), Sphere(3, count=2)], ids=str)
def test_draws_and_densities_work_under_vmap(manifold):
    u, scale = torch.randn(6, *manifold.batch_shape, 3), torch.rand(6, *manifold.batch_shape, 1) + 0.2
    by_vmap = torch.func.vmap(lambda u, s: density_of_draws(manifold, u, s), randomness="different")(u, scale)
    assert by_vmap.shape == (6, *manifold.batch_shape) and torch.isfinite(by_vmap).all()
    assert by_vmap.unique().numel() == by_vmap.numel()


@pytest.mark.parametrize("manifold", [Hyperboloid(3, learn=True), Sphere(3, count=2)], ids=str)
def test_draws_and_densities_compile_without_a_break(manifold):
    def step(u, scale):
        return density_of_draws(manifold, u, scale)

    torch._dynamo.reset()
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    results = []
    for function in (step, compiled):
        torch.manual_seed(4)
        u = torch.full((5, *manifold.batch_shape, 3), 0.1, requires_grad=True)
        scale = torch.full((5, *manifold.batch_shape, 1), 0.6, requires_grad=True)
        value = function(u, scale)
        results.append((value, *torch.autograd.grad(value.sum(), [u, scale])))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right)


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (torch.tensor([1.0, 1.0, 0.0]), torch.ones(1), "point of Hyperboloid"),
        (torch.tensor([1.0, 0.0]), torch.ones(1), "must be 3"),
        (torch.tensor([1.0, 0.0, 0.0]), -torch.ones(1), "positive|GreaterThan"),
        (torch.tensor([1.0, 0.0, 0.0]), torch.ones(2), "must be 1"),
        (torch.tensor([float("nan"), 0.0, 0.0]), torch.ones(1), "point of Hyperboloid"),
        (torch.tensor([1.0, 0.0, 0.0]), torch.full((1,), 2.9), r"scale 2\.9 .*float32.* at most 2\.82843"),
        (None, torch.full((1,), 3.9, dtype=F64), r"scale 3\.9 .*float64.* at most 3\.87298"),
    ],
)
def test_bad_arguments_are_named_when_validation_is_on(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        RiemannianNormal(Hyperboloid(2), loc, scale, validate_args=True)
    RiemannianNormal(Hyperboloid(2), loc, scale, validate_args=False)


def test_values_off_the_manifold_are_refused_when_validation_is_on():
    q = RiemannianNormal(Sphere(2), None, torch.ones(1), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        q.log_prob(torch.tensor([1.0, 1.0, 0.0]))


def test_the_largest_scale_is_accepted_and_bounded_by_the_mode_and_the_dtype():
    for manifold in (Hyperboloid(2), Hyperboloid(5, k=[-0.1, -2.0], count=2), Hyperboloid(1, k=-10.0), PoincareBall(2)):
        for dtype, bound in ((torch.float32, 8), (F64, 15)):
            largest = largest_scale(manifold, dtype)
            assert largest.dtype == dtype and largest.shape == (*manifold.batch_shape, 1)
            mode = (manifold.dim - 1) * manifold.k.abs().sqrt() * largest.squeeze(-1).double().square()
            assert (mode < bound * (1 + 1e-6)).all()
            RiemannianNormal(manifold, None, largest, validate_args=True)
    assert largest_scale(Hyperboloid(5), F64).item() == pytest.approx((15 / 4) ** 0.5)
    assert largest_scale(Hyperboloid(1), torch.float32).isfinite().all()
    assert largest_scale(Sphere(3), F64).isinf().all() and largest_scale(Euclidean(3), F64).isinf().all()
