"""The laws of a Riemannian manifold, on every letter, dimension, curvature and dtype."""

import pytest
import torch

from mcvae.manifolds import Euclidean, Hyperboloid, PoincareBall, ProjectedSphere, Sphere, Stereographic

LETTERS = [Euclidean, Sphere, ProjectedSphere, Hyperboloid, PoincareBall, Stereographic]
SIGNED = [  # letter, sign of its curvature
    pytest.param((Sphere, 1), id="s"),
    pytest.param((Hyperboloid, -1), id="h"),
    pytest.param((ProjectedSphere, 1), id="d"),
    pytest.param((PoincareBall, -1), id="p"),
    pytest.param((Stereographic, 1), id="u+"),
    pytest.param((Stereographic, -1), id="u-"),
]


def test_points_lie_on_the_manifold(space):
    manifold = space.manifold
    x = space.points()
    assert x.shape[-1] == manifold.ambient_dim
    assert manifold.contains(x).all()
    assert manifold.contains(manifold.expmap(x, space.tangents(x))).all()
    assert manifold.contains(manifold.random(5, dtype=space.dtype)).all()


def test_contains_rejects_points_off_the_manifold(curved_space):
    manifold, x = curved_space.manifold, curved_space.points(reach=1.0)
    outside = {"s": x * 1.01, "h": x * 1.01, "p": torch.full_like(x, 1.01 * curved_space.unit)}
    if manifold.letter in outside:
        assert not manifold.contains(outside[manifold.letter]).any()
    if manifold.letter == "u":  # a ball for k < 0, everything for k > 0
        assert (manifold.contains(outside["p"]) == (manifold.k > 0)).all()
    for bad in (float("nan"), float("inf")):
        x[..., -1] = bad
        assert not manifold.contains(x).any()


def test_origin_has_zero_coordinates(space):
    origin = space.manifold.origin(4, dtype=space.dtype)
    assert origin.shape == (4, space.manifold.ambient_dim)
    assert (space.manifold.logmap0(origin) == 0).all()


def test_logmap0_inverts_expmap0(space):
    u = space.coordinates()
    space.assert_equal(space.manifold.logmap0(space.manifold.expmap0(u)), u, space.unit)


def test_logmap_inverts_expmap(space):
    x = space.points()
    u = space.tangents(x)
    space.assert_equal(
        space.manifold.transp0back(x, space.manifold.logmap(x, space.manifold.expmap(x, u))),
        space.manifold.transp0back(x, u),
        space.unit,
    )


def test_logmap_frame_inverts_expmap_frame(space):
    x, u = space.points(), space.coordinates()
    space.assert_equal(space.manifold.logmap_frame(x, space.manifold.expmap_frame(x, u)), u, space.unit)


def test_expmap_frame_is_expmap_of_the_transported_vector(space):
    x, u = space.points(), space.coordinates()
    left = space.manifold.expmap_frame(x, u)
    right = space.manifold.expmap(x, space.manifold.transp0(x, u))
    space.assert_equal(space.manifold.dist(left, right), torch.zeros(len(x), dtype=space.dtype), space.unit)


def test_expmap_frame_at_the_origin_is_expmap0(space):
    u = space.coordinates()
    origin = space.manifold.origin(dtype=space.dtype)
    space.assert_equal(space.manifold.expmap_frame(origin, u), space.manifold.expmap0(u), space.unit)
    x = space.points()
    space.assert_equal(space.manifold.logmap_frame(origin, x), space.manifold.logmap0(x), space.unit)


def test_transp0back_inverts_transp0(space):
    y, u = space.points(), space.coordinates()
    space.assert_equal(space.manifold.transp0back(y, space.manifold.transp0(y, u)), u, space.unit)


def test_transport_is_an_isometry(space):
    x, y = space.points(), space.points()
    u, v = space.tangents(x), space.tangents(x)
    manifold = space.manifold
    before = manifold.inner(x, u, v)
    after = manifold.inner(y, manifold.transp(x, y, u), manifold.transp(x, y, v))
    space.assert_equal(after, before, space.unit**2 * space.reach**2)


def test_transp0_is_transport_from_the_origin(space):
    manifold = space.manifold
    y, u = space.points(), space.coordinates()
    origin = manifold.origin(len(y), dtype=space.dtype)
    at_origin = manifold.transp0(origin, u)
    space.assert_equal(manifold.transp(origin, y, at_origin), manifold.transp0(y, u), space.unit * 30)


def test_transport_carries_the_velocity_along_the_geodesic(space):
    manifold = space.manifold
    x, y = space.points(reach=space.reach / 2), space.points(reach=space.reach / 2)
    arrived = manifold.transp(x, y, manifold.logmap(x, y))
    space.assert_equal(
        manifold.transp0back(y, arrived), manifold.transp0back(y, -manifold.logmap(y, x)), space.unit * space.reach
    )


@pytest.mark.parametrize("manifold", [Sphere(4, k=0.6), Hyperboloid(4, k=-0.6)], ids="sh")
def test_transport_is_the_limit_of_projections_along_the_geodesic(manifold):
    x, y = manifold.random(2, 10, dtype=torch.float64)
    u = manifold.transp0(x, torch.randn(10, 4, dtype=torch.float64))
    steps, projected = 1000, u
    for i in range(1, steps + 1):
        projected = manifold.proju(manifold.geodesic(i / steps, x, y), projected)
    torch.testing.assert_close(
        manifold.transp0back(y, projected), manifold.transp0back(y, manifold.transp(x, y, u)), rtol=0.02, atol=0.02
    )


def test_tangent_vectors_are_their_own_projection(space):
    x = space.points(reach=1.0)
    u = space.tangents(x)
    space.assert_equal(space.manifold.proju(x, u), u, space.unit)


def test_projections_are_idempotent(space):
    manifold = space.manifold
    x = space.points(reach=1.0)
    moved = manifold.projx(x + 0.01 * space.unit * torch.randn_like(x))
    assert manifold.contains(moved).all()
    space.assert_equal(manifold.projx(moved), moved, space.unit)
    u = manifold.proju(moved, torch.randn_like(moved))
    space.assert_equal(manifold.proju(moved, u), u)


def test_norm_is_the_root_of_inner(space):
    x = space.points()
    u = space.tangents(x)
    space.assert_equal(space.manifold.norm(x, u).square(), space.manifold.inner(x, u, u), space.unit**2)


def test_norm_of_logmap_is_distance(space):
    x, y = space.points(), space.points()
    space.assert_equal(space.manifold.norm(x, space.manifold.logmap(x, y)), space.manifold.dist(x, y), space.unit)


def test_distance_is_a_metric(space):
    manifold = space.manifold
    x, y, z = space.points(), space.points(), space.points()
    assert (manifold.dist(x, x) == 0).all()
    assert (manifold.dist(x, y) > 0).all()
    space.assert_equal(manifold.dist(x, y), manifold.dist(y, x), space.unit)
    slack = manifold.dist(x, y) + manifold.dist(y, z) - manifold.dist(x, z)
    assert (slack >= -space.tolerance * space.unit).all()


def test_small_distances_keep_their_relative_accuracy(space):
    step = 1e-6 if space.dtype is torch.float64 else 1e-3
    x = space.points(reach=1.0)
    u = space.coordinates(reach=1.0) * step
    moved = space.manifold.expmap_frame(x, u)
    torch.testing.assert_close(
        space.manifold.dist(x, moved) / u.norm(dim=-1), torch.ones(len(x), dtype=space.dtype), rtol=0, atol=2e-2
    )


def test_geodesics_have_constant_speed(space):
    manifold = space.manifold
    x, y = space.points(reach=space.reach / 2), space.points(reach=space.reach / 2)
    distance = manifold.dist(x, y)
    space.assert_equal(manifold.dist(x, manifold.geodesic(0.3, x, y)), 0.3 * distance, space.unit)
    s, t = torch.rand(2, len(x), dtype=space.dtype)
    between = manifold.dist(manifold.geodesic(s, x, y), manifold.geodesic(t, x, y))
    space.assert_equal(between, (s - t).abs() * distance, space.unit)


def test_geodesics_start_and_end_at_their_points(space):
    manifold = space.manifold
    x, y = space.points(reach=space.reach / 2), space.points(reach=space.reach / 2)
    zero = torch.zeros(len(x), dtype=space.dtype)
    space.assert_equal(manifold.dist(manifold.geodesic(0.0, x, y), x), zero, space.unit)
    space.assert_equal(manifold.dist(manifold.geodesic(1.0, x, y), y), zero, space.unit)


def test_logdetexp_is_the_jacobian_of_expmap(small_space):
    """The columns of d expmap, measured in the frame at the end point, span the volume exp(logdetexp)."""
    manifold = small_space.manifold
    for x, u in zip(small_space.points(4), small_space.coordinates(4), strict=True):
        y = manifold.expmap_frame(x, u)
        columns = torch.autograd.functional.jacobian(lambda v, x=x: manifold.expmap_frame(x, v), u).T
        volume = torch.linalg.det(manifold.transp0back(y.expand(len(columns), -1), columns)).abs().log()
        torch.testing.assert_close(manifold.logdetexp0(u), volume, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(manifold.logdetexp(x, manifold.transp0(x, u)), volume, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "manifold",
    [
        Euclidean(2),
        Sphere(2, k=0.7),
        Hyperboloid(2, k=-0.7),
        ProjectedSphere(2, k=0.7),
        PoincareBall(2, k=-0.7),
        *(Stereographic(2, k=k) for k in (0.7, 0.0, -0.7)),
    ],
    ids=str,
)
def test_derivatives_at_the_origin_are_finite_and_continuous(manifold):
    """First and second derivatives at u = 0, where every series is in force, meet those beside it."""

    def everything(u):
        x = manifold.expmap0(u)
        base = manifold.expmap0(torch.tensor([0.3, -0.2], dtype=torch.float64))
        parts = [
            x.sin().sum(),
            manifold.logdetexp0(u),
            manifold.logmap0(x).sin().sum(),
            manifold.expmap_frame(base, u).sin().sum(),
            manifold.logmap_frame(base, manifold.expmap_frame(base, u)).sin().sum(),
            manifold.logmap_frame(x, base).sin().sum(),
        ]
        return torch.stack(parts)

    for order in (1, 2):
        function = everything
        for _ in range(order):
            function = torch.func.jacrev(function)
        at_zero = function(torch.zeros(2, dtype=torch.float64))
        beside = function(torch.tensor([1e-7, -1e-7], dtype=torch.float64))
        beyond_series = function(torch.tensor([0.02, 0.0], dtype=torch.float64))
        assert torch.isfinite(at_zero).all()
        torch.testing.assert_close(at_zero, beside, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(at_zero, beyond_series, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("letter", LETTERS)
def test_gradient_of_distance_and_norm_at_zero_is_zero(letter, dtype):
    manifold = letter(3)
    x = manifold.origin(2, dtype=dtype).requires_grad_()
    manifold.dist(x, manifold.origin(dtype=dtype)).sum().backward()
    assert (x.grad == 0).all()
    u = manifold.transp0(x.detach(), torch.zeros(2, 3, dtype=dtype)).requires_grad_()
    manifold.norm(x.detach(), u).sum().backward()
    assert (u.grad == 0).all()


VERBS_NEAR_FLAT = {  # of points a, b and tangent vectors p, q at a that flatten to x, y, u, v; and what they become
    "expmap0": (lambda m, a, b, p, q, u: flatten(m, m.expmap0(u)), lambda x, y, u, v: u),
    "logmap0": (lambda m, a, b, p, q, u: m.logmap0(a), lambda x, y, u, v: x),
    "expmap": (lambda m, a, b, p, q, u: flatten(m, m.expmap(a, p)), lambda x, y, u, v: x + u),
    "expmap_frame": (lambda m, a, b, p, q, u: flatten(m, m.expmap_frame(a, u)), lambda x, y, u, v: x + u),
    "logmap": (lambda m, a, b, p, q, u: flatten(m, m.logmap(a, b)), lambda x, y, u, v: y - x),
    "logmap_frame": (lambda m, a, b, p, q, u: m.logmap_frame(a, b), lambda x, y, u, v: y - x),
    "dist": (lambda m, a, b, p, q, u: m.dist(a, b), lambda x, y, u, v: (x - y).norm(dim=-1)),
    "norm": (lambda m, a, b, p, q, u: m.norm(a, p), lambda x, y, u, v: u.norm(dim=-1)),
    "inner": (lambda m, a, b, p, q, u: m.inner(a, p, q), lambda x, y, u, v: (u * v).sum(-1)),
    "transp": (lambda m, a, b, p, q, u: flatten(m, m.transp(a, b, p)), lambda x, y, u, v: u),
    "transp0": (lambda m, a, b, p, q, u: flatten(m, m.transp0(a, u)), lambda x, y, u, v: u),
    "transp0back": (lambda m, a, b, p, q, u: m.transp0back(a, p), lambda x, y, u, v: u),
    "geodesic": (lambda m, a, b, p, q, u: flatten(m, m.geodesic(0.3, a, b)), lambda x, y, u, v: 0.7 * x + 0.3 * y),
    "logdetexp": (lambda m, a, b, p, q, u: m.logdetexp(a, p), lambda x, y, u, v: torch.zeros(50).double()),
}


def flatten(manifold, x):
    """Coordinates of points or tangent vectors that become the Euclidean ones as k goes to 0."""
    return x[..., 1:] if manifold.letter in "sh" else x if manifold.letter == "e" else 2 * x


def unflatten(manifold, x, *vectors):
    """The point that flattens to x, and the tangent vectors there that flatten to ``vectors``."""
    if manifold.letter not in "sh":
        return [each if manifold.letter == "e" else each / 2 for each in (x, *vectors)]
    sign = manifold.sign
    first = (1 / manifold.k.abs() - sign * x.square().sum(-1, keepdim=True)).sqrt()
    rises = [-sign * (x * v).sum(-1, keepdim=True) / first for v in vectors]
    return [torch.cat(pair, -1) for pair in zip((first, *rises), (x, *vectors), strict=True)]


@pytest.mark.parametrize("case", SIGNED)
@pytest.mark.parametrize("verb", VERBS_NEAR_FLAT)
def test_verbs_meet_flat_space_as_k_goes_to_zero(case, verb):
    """The error of every verb is of order k."""
    letter, sign = case
    x, y, u, v = torch.randn(4, 50, 2, dtype=torch.float64)
    curved, limit = VERBS_NEAR_FLAT[verb]
    errors = []
    for k in (1e-4, 1e-6, 1e-8):
        manifold = letter(2, k=sign * k)
        a, p, q = unflatten(manifold, x, u, v)
        (b,) = unflatten(manifold, y)
        errors.append((curved(manifold, a, b, p, q, u) - limit(x, y, u, v)).abs().max().item() / k)
    assert errors[0] > 1e-3  # the curvature is felt
    assert errors[1] == pytest.approx(errors[0], rel=0.05)
    assert errors[2] == pytest.approx(errors[0], rel=0.3)


@pytest.mark.parametrize("verb", VERBS_NEAR_FLAT)
def test_without_curvature_every_verb_is_the_flat_one(verb):
    manifold = Stereographic(2)
    x, y, u, v = torch.randn(4, 50, 2, dtype=torch.float64)
    curved, limit = VERBS_NEAR_FLAT[verb]
    value = curved(manifold, x / 2, y / 2, u / 2, v / 2, u)
    torch.testing.assert_close(value, limit(x, y, u, v), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("case", SIGNED)
def test_learned_curvature_has_the_right_gradient(case):
    letter, k = case[0], 1.3 * case[1]
    manifold = letter(3, k=k, learn=True)
    assert manifold.k.item() == pytest.approx(k)
    assert manifold.k.dtype == torch.float64
    x, u = torch.randn(2, 6, 3, dtype=torch.float64)

    def value(space):
        z = space.expmap_frame(space.expmap0(x), u)
        return (space.logmap0(z).sin().sum() + space.logdetexp0(u).sum()) * 0.1

    (parameter,) = manifold.parameters()
    (gradient,) = torch.autograd.grad(value(manifold), [parameter])
    step = 1e-6
    numeric = (value(letter(3, k=k + step)) - value(letter(3, k=k - step))) / (2 * step)
    slope = 1 if manifold.sign is None else k  # of k in log|k|, which keeps the sign
    assert gradient.item() == pytest.approx(numeric.item() * slope, rel=1e-6)


@pytest.mark.parametrize("case", SIGNED)
def test_stacked_copies_act_as_single_spaces(case):
    letter, sign = case
    ks = [0.2 * sign, 1.0 * sign, 3.0 * sign]
    stacked = letter(2, k=ks, count=3)
    singles = [letter(2, k=k) for k in ks]
    assert stacked.k.shape == (3,)
    assert stacked.origin(5).shape == (5, 3, stacked.ambient_dim)
    u, v = torch.randn(2, 7, 3, 2, dtype=torch.float64)
    x = stacked.expmap0(u)
    z = stacked.expmap_frame(x, v)
    for i, single in enumerate(singles):
        a = single.expmap0(u[:, i])
        b = single.expmap_frame(a, v[:, i])
        torch.testing.assert_close(z[:, i], b)
        torch.testing.assert_close(stacked.dist(x, z)[:, i], single.dist(a, b))
        torch.testing.assert_close(stacked.logdetexp0(u)[:, i], single.logdetexp0(u[:, i]))


def test_sphere_is_finite_at_the_antipodes(dtype):
    """At -x and at the antipode of the origin, where logarithm and frame are not unique, nothing breaks."""
    sphere = Sphere(3, k=0.5)
    x = torch.cat([sphere.random(4, dtype=dtype), sphere.origin(2, dtype=dtype)]).requires_grad_()
    u = sphere.logmap_frame(x, -x.detach())
    assert torch.isfinite(torch.autograd.grad(u.sum(), x)[0]).all()
    radius = 0.5**-0.5
    tolerance = 1e-6 if dtype is torch.float64 else 2e-3
    torch.testing.assert_close(u.norm(dim=-1), torch.full((6,), torch.pi * radius, dtype=dtype), rtol=tolerance, atol=0)
    south = -sphere.origin(dtype=dtype)
    assert sphere.contains(sphere.expmap_frame(south, torch.randn(5, 3, dtype=dtype))).all()
    assert sphere.dist(x, -x).sub(torch.pi * radius).abs().max() < 1e-5


def test_float32_hyperboloid_stays_accurate_far_out():
    """Against float64 on the very same points: errors stay near those of storing the points in float32."""
    manifold = Hyperboloid(2)
    x = manifold.expmap0(torch.nn.functional.normalize(torch.randn(500, 2), dim=-1) * 5)
    u = torch.nn.functional.normalize(torch.randn(500, 2), dim=-1)
    z = manifold.expmap_frame(x, u)
    exact = manifold.logmap_frame(manifold.projx(x.double()), manifold.projx(z.double()))
    assert (exact - u).abs().max() < 5e-5  # what storage costs
    assert (manifold.logmap_frame(x, z) - exact).abs().max() < 5e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hyperboloid(0), "dim=0"),
        (lambda: Hyperboloid(2, k=0.5), "k < 0"),
        (lambda: Sphere(2, k=-1.0), "k > 0"),
        (lambda: Sphere(2, k=float("nan")), "finite"),
        (lambda: Euclidean(2, k=1.0), "k = 0"),
        (lambda: ProjectedSphere(2, k=-1.0), "k > 0"),
        (lambda: PoincareBall(2, k=0.0), "k < 0"),
        (lambda: Stereographic(2, k=float("inf")), "finite"),
        (lambda: Stereographic(0), "dim=0"),
        (lambda: Euclidean(2, learn=True), "no curvature to learn"),
        (lambda: Sphere(2, count=0), "count=0"),
        (lambda: Sphere(2, k=[1.0, 2.0], count=3), "one a copy"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
