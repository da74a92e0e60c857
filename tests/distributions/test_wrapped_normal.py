"""The wrapped normal: a density on every manifold, against quadrature, change of variables and its own draws."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

from mcvae.distributions import WrappedNormal
from mcvae.distributions.wrapped_normal import log_normal
from mcvae.manifolds import (
    Euclidean,
    Hyperboloid,
    PoincareBall,
    ProjectedSphere,
    Sphere,
    Stereographic,
    isometry,
)

SPHERES = [Sphere, ProjectedSphere, Stereographic]
SIGNED = [  # letter, sign of its curvature
    pytest.param((Sphere, 1), id="s"),
    pytest.param((Hyperboloid, -1), id="h"),
    pytest.param((ProjectedSphere, 1), id="d"),
    pytest.param((PoincareBall, -1), id="p"),
    pytest.param((Stereographic, 1), id="u+"),
    pytest.param((Stereographic, -1), id="u-"),
]

F64 = torch.float64


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def polar_quadrature(manifold, reach: float, n: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Points of a disc of radius ``reach`` around the origin of a surface, and their weights (Riemannian areas)."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    r = torch.tensor((nodes + 1) / 2 * reach)
    angle = torch.arange(n, dtype=F64) * (2 * math.pi / n)
    u = r[:, None, None] * torch.stack([angle.cos(), angle.sin()], -1)
    k = manifold.k.item()
    root = abs(k) ** 0.5
    # circumference / 2π at distance r
    circle = r if k == 0 else (root * r).sin() / root if k > 0 else (root * r).sinh() / root
    area = torch.tensor(weights * reach / 2) * circle * (2 * math.pi / n)
    return manifold.expmap0(u), area[:, None].expand(n, n)


def mass(manifold, distribution, reach: float) -> float:
    points, areas = polar_quadrature(manifold, reach)
    return (distribution.log_prob(points).exp() * areas).sum().item()


@pytest.mark.parametrize("letter", SPHERES)
@pytest.mark.parametrize("k", [0.25, 1.0, 4.0])
@pytest.mark.parametrize("scale", [(0.1, 0.1), (1.0, 1.0), (0.4, 1.3), (3.0, 2.0)], ids=str)
def test_density_integrates_to_one_on_the_sphere(letter, k, scale):
    sphere = letter(2, k=k)
    tolerance = 1e-9 if k <= 1 else 1e-4  # √k scale = 6 is beyond the exact windings
    assert mass(sphere, WrappedNormal(sphere, None, tensor(*scale)), math.pi / k**0.5) == pytest.approx(
        1, abs=tolerance
    )


@pytest.mark.parametrize("letter", SPHERES)
def test_density_integrates_to_one_on_the_sphere_away_from_the_origin(letter):
    sphere = letter(2, k=1.5)
    distribution = WrappedNormal(sphere, sphere.expmap0(tensor(0.9, -0.7)), tensor(0.5, 0.8))
    assert mass(sphere, distribution, math.pi / 1.5**0.5) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("dim", [1, 2, 3, 5, 10, 20])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0, 3.0])
def test_density_integrates_to_one_on_spheres_of_any_dimension(dim, scale):
    """Isotropic, so along one meridian against the area of the circles of latitude."""
    sphere = Sphere(dim)
    nodes, weights = np.polynomial.legendre.leggauss(1000)
    angle = torch.tensor((nodes + 1) / 2 * math.pi)
    points = sphere.expmap0(torch.nn.functional.pad(angle[:, None], (0, dim - 1)))
    log_prob = WrappedNormal(sphere, None, tensor(scale)).log_prob(points)
    log_circle = math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2) + (dim - 1) * angle.sin().log()
    total = ((log_prob + log_circle).exp() * torch.tensor(weights * math.pi / 2)).sum()
    assert total.item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("scale", [10.0, 30.0])
def test_very_wide_densities_on_the_sphere_keep_their_mass(scale):
    sphere = Sphere(2)
    assert mass(sphere, WrappedNormal(sphere, None, tensor(scale)), math.pi) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(("dim", "scale"), [(2, 1.0), (2, 1.5), (10, 1.0)])
def test_principal_branch_has_the_mass_within_the_injectivity_radius(dim, scale):
    sphere = Sphere(dim)
    wrapped, principal = (
        WrappedNormal(sphere, None, tensor(scale), principal=p, validate_args=False) for p in (False, True)
    )
    # The mean of the ratio of densities over draws of the whole is the mass of the principal branch.
    z = wrapped.sample((200_000,))
    ratio = (principal.log_prob(z) - wrapped.log_prob(z)).exp()
    within = (torch.randn(200_000, dim, dtype=F64) * scale).norm(dim=-1) < math.pi
    assert ratio.mean().item() == pytest.approx(within.double().mean().item(), abs=0.005)
    assert (ratio <= 1 + 1e-12).all()


@pytest.mark.parametrize(
    "manifold",
    [
        *(Hyperboloid(2), Hyperboloid(2, k=-0.3), Euclidean(2), PoincareBall(2), PoincareBall(2, k=-0.3)),
        *(Stereographic(2, k=-1.0), Stereographic(2), Stereographic(2, k=-1e-9)),
    ],
    ids=str,
)
@pytest.mark.parametrize("scale", [(0.3, 0.3), (1.0, 1.0), (0.5, 1.4)], ids=str)
def test_density_integrates_to_one_where_exp_is_one_to_one(manifold, scale):
    distribution = WrappedNormal(manifold, None, tensor(*scale))
    assert mass(manifold, distribution, 9 * max(scale)) == pytest.approx(1, abs=1e-10)
    away = WrappedNormal(manifold, manifold.expmap0(tensor(0.5, -0.8)), tensor(*scale))
    assert mass(manifold, away, 9 * max(scale) + 1) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "manifold",
    [
        *(Euclidean(3), Hyperboloid(3, k=-1.7), Hyperboloid(1), PoincareBall(3, k=-1.7), PoincareBall(1)),
        *(Stereographic(3, k=-1.7), Stereographic(2), Stereographic(2, k=-1e-4)),
    ],
    ids=str,
)
def test_log_prob_is_the_change_of_variables(manifold):
    """log N(u) less the log-volume that autograd's Jacobian of u -> z spans in the frame at z."""
    for _ in range(5):
        loc = manifold.random(dtype=F64)
        scale = torch.rand(manifold.dim, dtype=F64) + 0.2
        u = scale * torch.randn(manifold.dim, dtype=F64)
        z = manifold.expmap_frame(loc, u)
        columns = torch.autograd.functional.jacobian(lambda v, loc=loc: manifold.expmap_frame(loc, v), u).T
        volume = torch.linalg.det(manifold.transp0back(z.expand(len(columns), -1), columns)).abs().log()
        expected = log_normal(u, scale) - volume
        torch.testing.assert_close(WrappedNormal(manifold, loc, scale).log_prob(z), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "manifold",
    [
        *(Sphere(2, k=0.8), Hyperboloid(2, k=-0.8), ProjectedSphere(2, k=0.8), PoincareBall(2, k=-0.8)),
        *(Stereographic(2, k=0.8), Stereographic(2)),
    ],
    ids=str,
)
def test_density_is_the_density_of_the_draws(manifold):
    """The expectation of 1 / p over the draws inside a disc is the area of the disc."""
    distribution = WrappedNormal(manifold, manifold.expmap0(tensor(0.4, 0.2)), tensor(0.7, 1.2))
    z = distribution.sample((400_000,))
    reach = 1.2
    inside = manifold.logmap0(z).norm(dim=-1) < reach
    estimate = torch.where(inside, (-distribution.log_prob(z)).exp(), 0.0)
    _, areas = polar_quadrature(manifold, reach)
    error = estimate.std() / len(z) ** 0.5
    assert (estimate.mean() - areas.sum()).abs() < 4 * error


def test_euclidean_wrapped_normal_is_the_normal():
    loc, scale = torch.randn(4, 3), torch.rand(4, 3) + 0.1
    ours, theirs = WrappedNormal(Euclidean(3), loc, scale), Independent(Normal(loc, scale), 1)
    z = torch.randn(6, 4, 3)
    torch.testing.assert_close(ours.log_prob(z), theirs.log_prob(z))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        left = ours.rsample((2,))
    torch.manual_seed(3)
    torch.testing.assert_close(left, theirs.rsample((2,)))


@pytest.mark.parametrize("case", SIGNED)
@pytest.mark.parametrize("k", [1e-4, 1e-6, 1e-9])
def test_log_prob_meets_the_normal_as_k_goes_to_zero(case, k):
    u, m = torch.randn(2, 20, 3, dtype=F64)
    manifold = case[0](3, k=k * case[1])
    distribution = WrappedNormal(manifold, manifold.expmap0(m), tensor(0.5, 1.0, 2.0))
    flat = WrappedNormal(Euclidean(3), m, tensor(0.5, 1.0, 2.0))
    error = (distribution.log_prob(manifold.expmap0(u)) - flat.log_prob(u)).abs().max()
    assert error < 100 * k + 1e-12


@pytest.mark.parametrize("case", [*SIGNED, pytest.param((Stereographic, 0), id="u0")])
def test_curvature_gradient_flows_through_sample_and_density(case):
    letter, k = case[0], 0.9 * case[1]
    noise_free = tensor(0.3, -0.4)

    def value(manifold):
        torch.manual_seed(5)
        q = WrappedNormal(manifold, manifold.expmap0(noise_free), tensor(0.6, 0.9))
        z = q.rsample((50,))
        p = WrappedNormal(manifold, None, tensor(1.0))
        return (q.log_prob(z) - p.log_prob(z)).mean() + manifold.logmap0(z).square().mean()

    manifold = letter(2, k=k, learn=True)
    (gradient,) = torch.autograd.grad(value(manifold), list(manifold.parameters()))
    step = 1e-6
    numeric = (value(letter(2, k=k + step)) - value(letter(2, k=k - step))).item() / (2 * step)
    assert gradient.item() == pytest.approx(numeric * (1 if letter.sign is None else k), rel=1e-5)


@pytest.mark.parametrize(
    "manifold",
    [
        *(Sphere(2), Hyperboloid(2), Euclidean(2), ProjectedSphere(2), PoincareBall(2), Stereographic(2)),
        *(Stereographic(2, k=1.0), Stereographic(2, k=-1.0)),
    ],
    ids=str,
)
def test_remembered_draws_have_the_same_density_and_gradient(manifold):
    results = []
    for remember in (True, False):
        torch.manual_seed(2)
        u = torch.randn(40, 2, dtype=F64, requires_grad=True)
        scale = (torch.rand(40, 2, dtype=F64) + 0.1).requires_grad_()
        q = WrappedNormal(manifold, manifold.expmap0(u), scale, remember=remember)
        value = q.log_prob(q.rsample())
        results.append(
            (value, *torch.autograd.grad(value.sum(), [u, scale], allow_unused=True, materialize_grads=True))
        )
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


def test_a_draw_without_gradients_is_not_remembered_for_them():
    """The score of a draw made without a graph needs log_prob as a function of the parameters at fixed z."""
    manifold = Hyperboloid(2)
    u = torch.zeros(2, dtype=F64, requires_grad=True)
    scores = []
    for remember in (True, False):
        torch.manual_seed(2)
        q = WrappedNormal(manifold, manifold.expmap0(u), tensor(1.0, 0.5), remember=remember)
        scores.append(torch.autograd.grad(q.log_prob(q.sample()), u)[0])
    assert scores[0].norm() > 0.1
    torch.testing.assert_close(*scores)
    p = WrappedNormal(manifold, None, tensor(1.0), remember=True)
    z = p.sample().requires_grad_()
    assert torch.autograd.grad(p.log_prob(z), z)[0].norm() > 0


@pytest.mark.parametrize("letter", SPHERES)
def test_density_is_finite_at_the_location_and_its_antipode(letter):
    for dtype in (torch.float32, F64):
        sphere = letter(3, k=1.0)
        loc = sphere.expmap0(torch.tensor([0.3, 0.2, -0.1], dtype=dtype)).requires_grad_()
        scale = torch.tensor([0.5], dtype=dtype, requires_grad=True)
        there = loc.detach()
        for point in (there, -there if letter is Sphere else -there / there.square().sum()):
            value = WrappedNormal(sphere, loc, scale).log_prob(point)
            assert torch.isfinite(value)
            assert all(torch.isfinite(g).all() for g in torch.autograd.grad(value, [loc, scale]))


@pytest.mark.parametrize(
    "manifold",
    [
        *(Sphere(2, k=0.5), Hyperboloid(2), Euclidean(2), ProjectedSphere(2), PoincareBall(2)),
        *(Stereographic(2, k=k) for k in (-1.0, -1e-20, 0.0, 1e-38, 1e-20, 1e-6, 1.0)),
    ],
    ids=str,
)
def test_gradients_are_finite_when_everything_is_at_the_origin(manifold):
    u = torch.zeros(3, 2, requires_grad=True)
    scale = torch.full((3, 1), 1e-5, requires_grad=True)
    q = WrappedNormal(manifold, manifold.expmap0(u), scale)
    z = manifold.expmap_frame(q.loc, torch.zeros(3, 2))
    p = WrappedNormal(manifold, None, torch.ones(1))
    (q.log_prob(z) - p.log_prob(z) + manifold.logmap0(q.rsample()).sum(-1)).sum().backward()
    assert torch.isfinite(u.grad).all() and torch.isfinite(scale.grad).all()


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["float32", "float64"])
@pytest.mark.parametrize("dim", [2, 20, 64])
@pytest.mark.parametrize("k", [1e-4, 0.3, 10.0])
@pytest.mark.parametrize("case", SIGNED)
def test_draws_are_on_the_manifold_and_their_densities_finite(case, k, dim, dtype):
    manifold = case[0](dim, k=k * case[1])
    for scale in (1e-4, 0.1, 1.0):
        loc = manifold.expmap0((0.3 * torch.randn(500, dim, dtype=F64)).to(dtype))
        q = WrappedNormal(manifold, loc, torch.full((500, 1), scale, dtype=dtype))
        z = q.rsample()
        assert manifold.contains(z).all()
        if manifold.letter in "sh":
            radius, sign = 1 / k, manifold.sign
            product = z[:, 1:].square().sum(-1) + sign * z[:, 0].square()
            excess = (product * sign - radius).abs() / z[:, 0].square().clamp_min(radius)
            assert excess.max() < (1e-5 if dtype is torch.float32 else 1e-13)
        p = WrappedNormal(manifold, None, torch.ones(1, dtype=dtype))
        assert torch.isfinite(q.log_prob(z)).all() and torch.isfinite(p.log_prob(z)).all()


@pytest.mark.parametrize(
    "manifold",
    [
        *(Sphere(2), Hyperboloid(3), Euclidean(2), Hyperboloid(2, count=4), PoincareBall(2, count=4)),
        *(ProjectedSphere(2), Stereographic(2, k=[-1.0, 0.0, 1.0], count=3)),
    ],
    ids=str,
)
def test_shapes_are_those_of_torch_distributions(manifold):
    batch = (5, *manifold.batch_shape)
    q = WrappedNormal(manifold, manifold.random(5), torch.ones(manifold.dim))
    assert q.batch_shape == batch and q.event_shape == (manifold.ambient_dim,)
    z = q.rsample((7,))
    assert z.shape == (7, *batch, manifold.ambient_dim)
    assert q.log_prob(z).shape == (7, *batch)
    wider = q.expand((2, *batch))
    assert wider.batch_shape == (2, *batch)
    assert wider.sample().shape == (2, *batch, manifold.ambient_dim)
    torch.testing.assert_close(wider.log_prob(z[0]), q.log_prob(z[0]).expand(2, *batch))
    p = WrappedNormal(manifold, None, torch.ones(1))
    assert p.batch_shape == manifold.batch_shape
    assert torch.equal(p.loc, manifold.origin())
    assert q.has_rsample and "WrappedNormal" in repr(q)


def test_one_scale_equals_equal_scales():
    manifold = Hyperboloid(3)
    z = manifold.random(5)
    iso = WrappedNormal(manifold, None, torch.tensor([0.7]))
    torch.testing.assert_close(iso.log_prob(z), WrappedNormal(manifold, None, torch.full((3,), 0.7)).log_prob(z))


@pytest.mark.parametrize(
    ("loc", "scale", "message"),
    [
        (torch.tensor([1.0, 1.0, 0.0]), torch.ones(2), "point of Hyperboloid"),
        (torch.tensor([1.0, 0.0]), torch.ones(2), "must be 3"),
        (torch.tensor([1.0, 0.0, 0.0]), -torch.ones(2), "positive|GreaterThan"),
        (torch.tensor([1.0, 0.0, 0.0]), torch.ones(3), "must be 2 or 1"),
        (torch.tensor([float("nan"), 0.0, 0.0]), torch.ones(2), "point of Hyperboloid"),
    ],
)
def test_bad_arguments_are_named_when_validation_is_on(loc, scale, message):
    with pytest.raises(ValueError, match=message):
        WrappedNormal(Hyperboloid(2), loc, scale, validate_args=True)


def test_values_off_the_manifold_are_refused_when_validation_is_on():
    q = WrappedNormal(Sphere(2), None, torch.ones(2), validate_args=True)
    with pytest.raises(ValueError, match="support"):
        q.log_prob(torch.tensor([1.0, 1.0, 0.0]))
    WrappedNormal(Sphere(2), None, -torch.ones(2), validate_args=False)


def test_draws_follow_the_scale_in_the_transported_frame():
    manifold = Hyperboloid(2)
    loc = manifold.expmap0(tensor(1.0, 0.5))
    z = WrappedNormal(manifold, loc, tensor(0.2, 0.9)).sample((100_000,))
    torch.testing.assert_close(manifold.logmap_frame(loc, z).std(0), tensor(0.2, 0.9), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    ("source", "targets"),
    [(Hyperboloid, (PoincareBall, Stereographic)), (Sphere, (ProjectedSphere, Stereographic))],
    ids=["h-p-u", "s-d-u"],
)
@pytest.mark.parametrize("k", [1.0, 0.3])
@pytest.mark.parametrize("principal", [False, True])
def test_models_of_one_space_have_equal_densities_divergences_and_gradients(source, targets, k, principal):
    """h2, p2, u2:k=-1, and s2, d2, u2:k=1, at corresponding points and equal noise; gradients in all parameters."""
    k = k * source.sign
    location, at, scale, noise = 0.8 * torch.randn(4, 50, 2, dtype=F64)

    def results(letter):
        manifold = letter(2, k=k, learn=True)
        u, s = location.clone().requires_grad_(), (scale.abs() + 0.2).requires_grad_()
        q = WrappedNormal(manifold, manifold.expmap0(u), s, principal=principal, validate_args=False)
        p = WrappedNormal(manifold, None, tensor(1.0), principal=principal, validate_args=False)
        z = manifold.expmap_frame(q.loc, s * noise)
        estimate = q.log_prob(z) - p.log_prob(z)
        density = q.log_prob(manifold.expmap0(at))
        (parameter,) = manifold.parameters()
        gradients = torch.autograd.grad((estimate + density).sum(), [u, s, parameter])
        slope = 1.0 if letter is Stereographic else k
        return z, manifold, [estimate, density, *gradients[:2], gradients[2] / slope]

    z, manifold, expected = results(source)
    for target in targets:
        point, other, values = results(target)
        torch.testing.assert_close(isometry(manifold, other)(z), point, rtol=1e-10, atol=1e-10)
        for left, right in zip(values, expected, strict=True):
            torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_windings_vanish_smoothly_as_curvature_goes_to_zero_from_above(dtype):
    """They are felt at k = 1, and below rounding from k = 0.01 on: value, slope and bend are then the principal's."""
    at, scale = tensor(0.4, -0.3).to(dtype), tensor(1.5, 1.2).to(dtype)
    found = {}
    for k in (1.0, 0.01, *(10.0**-n for n in range(3, 300, 3)), 0.0, -1e-200, -1e-6, -1.0):
        curvature = tensor(k).requires_grad_()
        manifold = Stereographic(2, k=k, learn=True)
        del manifold.curvature
        manifold.curvature = curvature.squeeze(0)
        point = manifold.expmap0(at)
        values = [
            WrappedNormal(manifold, None, scale, principal=p, validate_args=False).log_prob(point)
            for p in (False, True)
        ]
        slopes = [torch.autograd.grad(value, curvature, create_graph=True)[0] for value in values]
        bends = [torch.autograd.grad(slope, curvature, retain_graph=True)[0] for slope in slopes]
        found[k] = torch.stack([torch.cat([a.reshape(1) - b.reshape(1)]) for a, b in (values, slopes, bends)]).flatten()
    assert found.pop(1.0)[0] > 1e-6
    bar = 1e-12 if dtype is torch.float64 else 1e-5
    assert all((difference.abs() <= bar).all() for difference in found.values())


@pytest.mark.parametrize("k", [0.0, 1e-9, -1e-9, 1e-3, -1e-3])
def test_curvature_gradient_of_the_density_at_zero_agrees_with_finite_differences(k):
    """d log p / d k of a fixed point and posterior around flat space, and its second derivative."""
    z, loc, scale = tensor(0.3, -0.2, 0.4), tensor(-0.1, 0.35, 0.2), tensor(0.5, 0.8, 1.1)

    def density(curvature):
        manifold = Stereographic(3)
        manifold._curvature = curvature
        return WrappedNormal(manifold, loc, scale, validate_args=False).log_prob(z)

    k = torch.tensor(k, dtype=F64, requires_grad=True)
    assert torch.autograd.gradcheck(density, [k], eps=1e-5, atol=1e-8)
    assert torch.autograd.gradgradcheck(density, [k], eps=1e-5, atol=1e-6)


def test_entropy_is_closed_on_euclidean_space_only():
    scale = torch.rand(4, 3) + 0.2
    q = WrappedNormal(Euclidean(3), torch.zeros(2, 4, 3), scale)
    expected = Independent(Normal(torch.zeros(2, 4, 3), scale), 1).entropy()
    torch.testing.assert_close(q.entropy(), expected)
    iso = WrappedNormal(Euclidean(3), None, torch.tensor([0.7]))
    torch.testing.assert_close(iso.entropy(), 3 * Normal(0.0, 0.7).entropy())
    with pytest.raises(NotImplementedError, match="Euclidean"):
        WrappedNormal(Hyperboloid(3), None, scale).entropy()


@pytest.mark.parametrize("manifold", [Sphere(2), Hyperboloid(2), PoincareBall(2), ProjectedSphere(2)], ids=str)
def test_mean_is_the_frechet_mean(manifold):
    """No mean of squared distances to the draws is smaller than at loc: its gradient there, the mean log, vanishes."""
    q = WrappedNormal(manifold, manifold.expmap0(tensor(0.5, -0.3)), tensor(0.4, 0.6))
    log = manifold.logmap_frame(q.mean, q.sample((200_000,)))
    assert (log.mean(0).abs() < 4 * log.std(0) / 200_000**0.5).all()


def test_mode_is_the_location_where_curvature_is_not_positive():
    for manifold in (Euclidean(2), Hyperboloid(2), PoincareBall(2)):
        q = WrappedNormal(manifold, manifold.expmap0(tensor(0.5, -0.3)), tensor(0.4, 0.6))
        assert (q.log_prob(q.sample((1000,))) <= q.log_prob(q.mode)).all()
    with pytest.raises(NotImplementedError, match="mode"):
        _ = WrappedNormal(Sphere(2), None, tensor(1.0)).mode


@pytest.mark.parametrize("letter", SPHERES)
def test_a_principal_branch_that_lacks_mass_is_warned_of(letter):
    for dim, k, scale in [(10, 1.0, [1.0]), (2, 4.0, [1.0]), (2, 1.0, [0.1, 3.0])]:
        with pytest.warns(UserWarning, match="injectivity radius"):
            WrappedNormal(letter(dim, k=k), None, tensor(*scale), principal=True, validate_args=True)
        WrappedNormal(letter(dim, k=k), None, tensor(*scale), principal=True, validate_args=False)
        WrappedNormal(letter(dim, k=k), None, tensor(*scale), validate_args=True)
    WrappedNormal(letter(2, k=1.0), None, tensor(1.0), principal=True, validate_args=True)  # 0.7% beyond
    WrappedNormal(Stereographic(10, k=-1.0), None, tensor(9.0), principal=True, validate_args=True)


def test_points_off_each_manifold_are_refused_when_validation_is_on():
    outside = {PoincareBall(2): tensor(1.2, 0.0), Stereographic(2, k=-1.0): tensor(0.0, 1.2)}
    outside[ProjectedSphere(2)] = outside[Stereographic(2)] = tensor(float("inf"), 0.0)
    for manifold, point in outside.items():
        with pytest.raises(ValueError, match=f"a point of {type(manifold).__name__}"):
            WrappedNormal(manifold, point, tensor(1.0), validate_args=True)
        with pytest.raises(ValueError, match="support"):
            WrappedNormal(manifold, None, tensor(1.0), validate_args=True).log_prob(point)
        with pytest.raises(ValueError, match="must be 2"):
            WrappedNormal(manifold, tensor(0.0, 0.0, 0.0), tensor(1.0), validate_args=True)


@pytest.mark.parametrize("manifold", [Sphere(2), PoincareBall(2), Stereographic(2, k=[0.0, 1.0], count=2)], ids=str)
def test_sampling_and_density_map_over_a_batch(manifold):
    """Under torch.func.vmap, without validation."""
    loc = manifold.expmap0(torch.randn(6, *manifold.batch_shape, 2))
    scale = torch.rand(6, *manifold.batch_shape, 2) + 0.1

    def draw(loc, scale):
        q = WrappedNormal(manifold, loc, scale, validate_args=False)
        z = q.rsample()
        return z, q.log_prob(z)

    z, log_prob = torch.func.vmap(draw, randomness="different")(loc, scale)
    torch.testing.assert_close(log_prob, WrappedNormal(manifold, loc, scale).log_prob(z), rtol=1e-4, atol=1e-4)
    assert len(set(z[..., 0].flatten().tolist())) == z[..., 0].numel()


@pytest.mark.slow
@pytest.mark.parametrize(
    "manifold",
    [
        *(ProjectedSphere(2, learn=True), PoincareBall(2, count=3), Hyperboloid(2)),
        Stereographic(2, k=[0.0, 1.0, -1.0], learn=True, count=3),
    ],
    ids=str,
)
def test_sampling_and_density_compile_to_one_graph(manifold):
    loc, scale = torch.randn(4, *manifold.batch_shape, 2), torch.rand(4, *manifold.batch_shape, 2) + 0.1

    def step(u, scale, noise):
        q = WrappedNormal(manifold, manifold.expmap0(u), scale, remember=True, validate_args=False)
        p = WrappedNormal(manifold, None, torch.ones(1), validate_args=False)
        z = q.rsample() if noise is None else manifold.expmap_frame(q.loc, scale * noise)
        return q.log_prob(z) - p.log_prob(z), manifold.logmap0(z)

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    noise = torch.randn_like(loc)
    for left, right in zip(compiled(loc, scale, noise), step(loc, scale, noise), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)
    assert all(torch.isfinite(value).all() for value in compiled(loc, scale, None))


def test_where_there_is_one_preimage_the_principal_branch_remembers_its_draws():
    """Far out a point cannot tell its coordinates, and the draw that made it can."""
    ball = PoincareBall(2)
    scale = torch.full((2,), 12.0)
    both = [WrappedNormal(ball, None, scale, principal=p, remember=True, validate_args=False) for p in (False, True)]
    found = []
    for distribution in both:
        torch.manual_seed(0)
        found.append(distribution.log_prob(distribution.rsample((100,))))
    assert torch.equal(*found)
