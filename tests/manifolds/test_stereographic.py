"""κ-stereographic spaces: against geoopt, smooth through k = 0, inside the ball, and finite at every extreme."""

import warnings

import numpy as np
import pytest
import torch

from mcvae.manifolds import Hyperboloid, PoincareBall, ProjectedSphere, Sphere, Stereographic, stereographic
from mcvae.manifolds.trigonometry import largest_tanh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    geoopt = pytest.importorskip("geoopt")

F64 = torch.float64
SPACES = [
    ProjectedSphere(3, k=0.7),
    PoincareBall(3, k=-0.7),
    Stereographic(3, k=0.7),
    Stereographic(3, k=-0.7),
    Stereographic(3),
]

# verbs of fixed points and vectors as functions of k [1] of either sign
ARGUMENTS = 0.4 * torch.randn(3, 4, 3, dtype=F64, generator=torch.Generator().manual_seed(0))
VERBS = {
    "expmap0": lambda x, y, u, k: stereographic.expmap0(u, k=k, sign=0),
    "logmap0": lambda x, y, u, k: stereographic.logmap0(x, k=k, sign=0),
    "expmap_frame": lambda x, y, u, k: stereographic.expmap_frame(x, u, k=k, sign=0),
    "logmap_frame": lambda x, y, u, k: stereographic.logmap_frame(x, y, k=k, sign=0),
    "transp0": lambda x, y, u, k: stereographic.transp0(x, u, k=k, sign=0),
    "transp0back": lambda x, y, u, k: stereographic.transp0back(x, u, k=k, sign=0),
    "transp": lambda x, y, u, k: stereographic.transp(x, y, u, k=k, sign=0),
    "logdetexp0": lambda x, y, u, k: stereographic.logdetexp0(u, k=k, sign=0),
    "projx": lambda x, y, u, k: stereographic.projx(x, k=k, sign=0),
}
AROUND_ZERO = [0.0, 1e-12, -1e-12, 1e-6, -1e-6, 1e-3, -1e-3, 0.02, -0.02, 0.05, -0.05]


@pytest.mark.parametrize("ours", SPACES, ids=str)
def test_verbs_agree_with_geoopt(ours):
    theirs = geoopt.Stereographic(k=ours.k)
    x, y = ours.random(2, 30, dtype=F64) * 0.7
    u, v = 0.5 * torch.randn(2, 30, 3, dtype=F64)
    origin = torch.zeros(30, 3, dtype=F64)
    pairs = [
        (ours.expmap0(u), theirs.expmap0(u / 2)),  # a frame vector has coordinates u / λ_0
        (ours.logmap0(x), 2 * theirs.logmap0(x)),
        (ours.expmap(x, u), theirs.expmap(x, u)),
        (ours.logmap(x, y), theirs.logmap(x, y)),
        (ours.expmap_frame(x, u), theirs.mobius_add(x, theirs.expmap0(u / 2))),
        (ours.logmap_frame(x, y), 2 * theirs.logmap0(theirs.mobius_add(-x, y))),
        (ours.transp(x, y, u), theirs.transp(x, y, u)),
        (ours.transp0(y, u), theirs.transp(origin, y, u / 2)),
        (ours.transp0back(x, u), 2 * theirs.transp(x, origin, u)),
        (ours.inner(x, u, v), theirs.inner(x, u, v, keepdim=True).squeeze(-1)),
        (ours.norm(x, u), theirs.norm(x, u)),
        (ours.dist(x, y), theirs.dist(x, y)),
        (ours.geodesic(0.3, x, y), theirs.geodesic(torch.tensor(0.3, dtype=F64), x, y)),
    ]
    for left, right in pairs:
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_are_smooth_in_curvature_through_zero(verb):
    """Value and first two derivatives in k, against those of a polynomial through values at 17 curvatures around."""
    step = 0.15
    nodes = np.cos((np.arange(17) + 0.5) * np.pi / 17)

    def function(k):
        return VERBS[verb](*ARGUMENTS, k[None]).flatten()

    first = torch.func.jacrev(function)
    second = torch.func.jacrev(first)
    for k in AROUND_ZERO:
        values = torch.stack([function(torch.tensor(k + step * node, dtype=F64)) for node in nodes])
        series = np.polynomial.chebyshev.chebfit(nodes, values.numpy(), 16)
        for order, derivative in enumerate((function, first, second)):
            terms = np.polynomial.chebyshev.chebder(series, order)
            expected = np.polynomial.chebyshev.chebval(0.0, terms) / step**order
            error = np.abs(derivative(torch.tensor(k, dtype=F64)).numpy() - expected).max()
            assert error < (1e-13, 1e-11, 1e-9)[order], (k, order)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("k", AROUND_ZERO[:7])
def test_gradients_of_verbs_agree_with_finite_differences(verb, k):
    """In points, vectors and curvature at once, twice."""
    arguments = [a[:1, :2].clone().requires_grad_() for a in ARGUMENTS]
    arguments.append(torch.tensor([k], dtype=F64, requires_grad=True))
    assert torch.autograd.gradcheck(VERBS[verb], arguments, atol=1e-7)
    assert torch.autograd.gradgradcheck(VERBS[verb], arguments, atol=1e-6)


def test_space_of_either_sign_equals_those_of_a_fixed_sign():
    x, y, u = 0.5 * torch.randn(3, 20, 3, dtype=F64)
    for fixed in (ProjectedSphere(3, k=0.8), PoincareBall(3, k=-0.8)):
        either = Stereographic(3, k=fixed.k)
        for verb, arguments in [
            *(("expmap0", (u,)), ("logmap0", (x,)), ("expmap_frame", (x, u)), ("logmap_frame", (x, y))),
            *(("dist", (x, y)), ("transp", (x, y, u)), ("logdetexp0", (u,)), ("projx", (3 * x,))),
        ]:
            left, right = getattr(fixed, verb)(*arguments), getattr(either, verb)(*arguments)
            torch.testing.assert_close(left, right, rtol=1e-13, atol=1e-14)


def test_learned_curvature_can_change_its_sign():
    """Gradient descent on the distance of two points crosses k = 0, there and back."""
    manifold = Stereographic(2, k=0.3, learn=True)
    assert dict(manifold.named_parameters())["curvature"].dtype == F64
    x, y = torch.tensor([[0.4, 0.1], [-0.3, 0.35]], dtype=F64)
    for target in (-0.5, 0.0, 0.4):
        goal = Stereographic(2, k=target).dist(x, y)
        optimiser = torch.optim.Adam(manifold.parameters(), lr=0.02)
        for _ in range(300):
            optimiser.zero_grad()
            (manifold.dist(x, y) - goal).square().backward()
            optimiser.step()
        assert manifold.k.item() == pytest.approx(target, abs=1e-3)


def test_copies_of_either_sign_stack():
    ks = [-1.5, 0.0, 1e-9, 0.8]
    stacked = Stereographic(2, k=ks, learn=True, count=4)
    x, u = 0.4 * torch.randn(2, 5, 4, 2, dtype=F64)
    z = stacked.expmap_frame(x, u)
    for i, k in enumerate(ks):
        torch.testing.assert_close(z[:, i], Stereographic(2, k=k).expmap_frame(x[:, i], u[:, i]))
    z.square().sum().backward()
    assert torch.isfinite(stacked.curvature.grad).all() and (stacked.curvature.grad != 0).all()


@pytest.mark.parametrize("k", [-1e-4, -0.3, -1.0, -10.0])
@pytest.mark.parametrize("dim", [1, 2, 64, 500])
def test_points_never_leave_the_ball(k, dim, dtype):
    for manifold in (PoincareBall(dim, k=k), Stereographic(dim, k=k)):
        x = manifold.origin(200, dtype=dtype)
        for length in (0.1, 3.0, 10.0, 15.0, 40.0, 1e4, 1e30):
            u = torch.nn.functional.normalize(torch.randn(200, dim, dtype=dtype), dim=-1) * (length / abs(k) ** 0.5)
            assert manifold.contains(manifold.expmap0(u)).all()
            x = manifold.expmap_frame(x, u)
            assert manifold.contains(x).all()
            assert (manifold.k.to(dtype) * x.square().sum(-1) >= -1 + torch.finfo(dtype).eps).all()
        assert manifold.contains(manifold.projx(1e6 * torch.randn(50, dim, dtype=dtype))).all()


def test_pulling_points_inside_keeps_their_direction_and_gradient():
    manifold = PoincareBall(2)
    x = torch.tensor([3.0, 4.0], dtype=F64, requires_grad=True)
    inside = manifold.projx(x)
    torch.testing.assert_close(inside, largest_tanh(F64) * x / 5)
    (gradient,) = torch.autograd.grad(inside @ torch.tensor([-4.0, 3.0], dtype=F64), x)  # across
    assert gradient.norm() > 0.1
    assert torch.equal(manifold.projx(0.1 * x), 0.1 * x)


def test_ball_is_as_far_as_its_dtype_reaches(dtype):
    """Lengths are right until the edge is a rounding error away; there they saturate."""
    manifold = PoincareBall(3)
    edge = 2 * torch.tensor(largest_tanh(dtype), dtype=F64).atanh().item()
    for length in (1.0, 0.4 * edge, 0.6 * edge):
        u = torch.tensor([length, 0.0, 0.0], dtype=dtype)
        assert manifold.logmap0(manifold.expmap0(u))[0].item() == pytest.approx(length, rel=1e-3)
    far = manifold.logmap0(manifold.expmap0(torch.tensor([1e9, 0.0, 0.0], dtype=dtype)))
    assert far[0].item() == pytest.approx(edge, rel=0.05)


@pytest.mark.parametrize("letter", [Sphere, ProjectedSphere, Hyperboloid, PoincareBall, Stereographic])
@pytest.mark.parametrize("size", [1e-4, 1.0, 10.0])
def test_finite_vectors_have_finite_images_and_gradients(letter, size, dtype):
    """However long: same, opposite and other directions, in every verb; in curvature too."""
    signs = (1, -1) if letter.sign is None else (letter.sign,)
    for k in (size * sign for sign in signs):
        manifold = letter(3, k=k, learn=True)
        for length in (0.0, 1e-30, 44.0, 1e9, 1e36):
            u = torch.nn.functional.normalize(torch.randn(8, 3, dtype=F64), dim=-1) * length
            u = u.to(dtype).requires_grad_()
            other = torch.nn.functional.normalize(torch.randn(8, 3, dtype=F64), dim=-1).mul(length).to(dtype)
            for v in (u, -u, other):
                x, y = manifold.expmap0(u), manifold.expmap0(v)
                z = manifold.expmap_frame(x, v)
                assert manifold.contains(torch.cat([x, y, z])).all()
                logs = [manifold.logmap0(z), manifold.logmap_frame(x, y), manifold.logmap_frame(x, z)]
                vectors = [manifold.transp(x, y, manifold.transp0(x, torch.ones_like(v))), manifold.transp0back(x, y)]
                outputs = [z, *logs, vectors[0], manifold.dist(x, y)]
                for output in outputs:
                    assert torch.isfinite(output).all()
                    gradients = torch.autograd.grad(
                        output.sum(), [u, *manifold.parameters()], retain_graph=True, allow_unused=True
                    )
                    assert all(torch.isfinite(g).all() for g in gradients if g is not None)


def test_projected_sphere_reaches_the_antipode_of_the_origin(dtype):
    """Vectors of length π/√k, and more, go there and beyond; two points a half circle apart are π/√k apart."""
    for manifold in (ProjectedSphere(2, k=0.5), Stereographic(2, k=0.5)):
        half = torch.pi / 0.5**0.5
        tolerance = 1e-6 if dtype is F64 else 2e-3
        u = torch.tensor([[half, 0.0], [0.0, 1.5 * half], [-0.3 * half, 0.4 * half]], dtype=dtype)
        x = manifold.expmap0(u)
        expected = torch.tensor([half, 0.5 * half, 0.5 * half], dtype=dtype)
        torch.testing.assert_close(manifold.logmap0(x).norm(dim=-1), expected, rtol=tolerance, atol=0)
        opposite = -x[1:] / (0.5 * x[1:].square().sum(-1, keepdim=True))
        for a, b in ((x[1:], opposite), (opposite, x[1:])):
            torch.testing.assert_close(manifold.dist(a, b), torch.full((2,), half, dtype=dtype), rtol=tolerance, atol=0)
            assert torch.isfinite(manifold.expmap_frame(a, manifold.logmap_frame(a, b))).all()
