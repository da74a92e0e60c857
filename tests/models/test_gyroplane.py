"""The gyroplane layer: signed distances to hyperplanes, against a search for the nearest point and a linear layer."""

import math

import pytest
import torch
from scipy import optimize

from mcvae.manifolds import (
    Euclidean,
    Hyperboloid,
    PoincareBall,
    ProductManifold,
    ProjectedSphere,
    Sphere,
    Stereographic,
    isometry,
)
from mcvae.models.gyroplane import GyroplaneLayer

F64 = torch.float64
SPACES = [
    Hyperboloid(3, k=-0.6),
    PoincareBall(3, k=-2.0),
    Stereographic(3, k=-0.6),
    Sphere(3, k=0.6),
    ProjectedSphere(2, k=2.0),
    Stereographic(3, k=0.6),
    Stereographic(2, k=0.0),
    Euclidean(3),
]
every_space = pytest.mark.parametrize("manifold", SPACES, ids=str)


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def points(manifold, n: int, reach: float = 1.2) -> torch.Tensor:
    unit = manifold.k.abs().max().item() ** -0.5 if manifold.k.abs().max() else 1.0
    u = torch.nn.functional.normalize(torch.randn(n, *manifold.batch_shape, manifold.dim, dtype=F64), dim=-1)
    return manifold.expmap0(u * torch.rand(n, *manifold.batch_shape, 1, dtype=F64) * reach * unit)


def on_gyroplanes(manifold, layer, radius: float) -> torch.Tensor:
    """One point of each hyperplane, exp_p of a vector orthogonal to the normal; [width, ambient_dim]."""
    along = torch.randn(layer.width, manifold.dim, dtype=F64)
    normal = torch.nn.functional.normalize(layer.weight.detach(), dim=-1)
    along = along - normal * (along * normal).sum(-1, keepdim=True)
    centre = manifold.expmap0(layer.offset.detach())
    return manifold.expmap_frame(centre, radius * torch.nn.functional.normalize(along, dim=-1))


def test_on_flat_space_it_is_a_linear_layer():
    layer = GyroplaneLayer(Euclidean(4), 7).double()
    z = torch.randn(5, 4, dtype=F64)
    bias = -(layer.weight * layer.offset).sum(-1)
    torch.testing.assert_close(layer(z), torch.nn.functional.linear(z, layer.weight, bias))


@every_space
def test_it_is_zero_on_the_gyroplanes(manifold):
    layer = GyroplaneLayer(manifold, 6).double()
    for radius in (0.0, 0.3, 1.0):
        values = layer(on_gyroplanes(manifold, layer, radius)).diagonal()
        torch.testing.assert_close(values, torch.zeros_like(values), rtol=0, atol=1e-12)


@every_space
def test_it_is_the_distance_to_the_nearest_point_of_the_gyroplane(manifold):
    """|f| / |a| against a minimisation over the hyperplane; the sign is that of the side the normal points to."""
    layer = GyroplaneLayer(manifold, 3).double()
    z = points(manifold, 4)
    values = (layer(z) / layer.weight.norm(dim=-1)).detach()
    centres = manifold.expmap0(layer.offset.detach())
    for j, (a, p) in enumerate(zip(layer.weight.detach(), centres, strict=True)):
        basis = torch.linalg.svd(a.unsqueeze(0)).Vh[1:]
        for i, point in enumerate(z):

            def distance(t, p=p, basis=basis, point=point):
                nearby = manifold.expmap_frame(p, torch.as_tensor(t, dtype=F64) @ basis)
                return manifold.dist(nearby, point).item()

            options = {"xatol": 1e-10, "fatol": 1e-14, "maxiter": 4000, "maxfev": 4000}
            nearest = optimize.minimize(distance, [0.01] * len(basis), method="Nelder-Mead", options=options)
            assert abs(values[i, j].item()) == pytest.approx(nearest.fun, abs=1e-6)
            side = (manifold.logmap_frame(p, point) * a).sum()
            assert values[i, j].sign() == side.sign()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Hyperboloid(3, k=-0.7), PoincareBall(3, k=-0.7)),
        (Hyperboloid(3, k=-0.7), Stereographic(3, k=-0.7)),
        (Sphere(3, k=0.7), ProjectedSphere(3, k=0.7)),
        (Sphere(3, k=0.7), Stereographic(3, k=0.7)),
    ],
    ids=str,
)
def test_models_of_one_space_agree_through_the_isometry(source, target):
    left, right = GyroplaneLayer(source, 5).double(), GyroplaneLayer(target, 5).double()
    right.load_state_dict(left.state_dict())
    z = points(source, 30)
    torch.testing.assert_close(left(z), right(isometry(source, target)(z)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("letter", [Hyperboloid, PoincareBall, Sphere, ProjectedSphere])
@pytest.mark.parametrize("k", [1e-3, 1e-6])
def test_it_meets_the_linear_layer_as_k_goes_to_zero(letter, k):
    flat = GyroplaneLayer(Euclidean(3), 5).double()
    manifold = letter(3, k=letter.sign * k)
    curved = GyroplaneLayer(manifold, 5).double()
    curved.load_state_dict(flat.state_dict())
    u = torch.randn(20, 3, dtype=F64)
    torch.testing.assert_close(curved(manifold.expmap0(u)), flat(u), rtol=0, atol=30 * k)


def test_it_is_smooth_in_the_curvature_through_zero():
    """First and second derivatives in k at 0 and on either side against finite differences."""
    layer = GyroplaneLayer(Stereographic(3, learn=True), 5).double()
    curvature = layer.manifold.factors[0].curvature
    z = 0.4 * torch.randn(10, 3, dtype=F64)

    def value(k: float) -> torch.Tensor:
        curvature.data.fill_(k)
        return layer(z).sum()

    for k in (-1e-3, -1e-9, 0.0, 1e-9, 1e-3):
        (first,) = torch.autograd.grad(value(k), curvature, create_graph=True)
        (second,) = torch.autograd.grad(first, curvature)
        ends = [value(k + step).item() for step in (-2e-3, -1e-3, 0.0, 1e-3, 2e-3)]
        slope = (ends[0] - 8 * ends[1] + 8 * ends[3] - ends[4]) / 12e-3
        bend = (-ends[0] + 16 * ends[1] - 30 * ends[2] + 16 * ends[3] - ends[4]) / 12e-6
        assert first.item() == pytest.approx(slope, rel=1e-7)
        assert second.item() == pytest.approx(bend, rel=1e-5)


def test_stacked_copies_and_products_add_the_factors_up():
    stacked = Hyperboloid(2, k=[-0.3, -1.0, -4.0], count=3)
    manifold = ProductManifold([stacked, Sphere(3, k=0.5), Euclidean(2)])
    layer = GyroplaneLayer(manifold, 6).double()
    z = torch.cat([stacked.random(7, dtype=F64).flatten(-2), points(Sphere(3, k=0.5), 7), torch.randn(7, 2)], -1)
    singles = [Hyperboloid(2, k=k) for k in (-0.3, -1.0, -4.0)] + [Sphere(3, k=0.5), Euclidean(2)]
    total, at, at_tangent = 0, 0, 0
    for single in singles:
        part = GyroplaneLayer(single, 6).double()
        part.weight.data = layer.weight.data[:, at_tangent : at_tangent + single.dim]
        part.offset.data = layer.offset.data[:, at_tangent : at_tangent + single.dim]
        total = total + part(z[:, at : at + single.ambient_dim])
        at, at_tangent = at + single.ambient_dim, at_tangent + single.dim
    torch.testing.assert_close(layer(z), total)
    torch.testing.assert_close(layer(z.expand(2, 3, 7, -1)), total.expand(2, 3, 7, -1))
    torch.testing.assert_close(layer(z[0]), total[0])


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=["float32", "float64"])
@every_space
def test_gradients_are_finite_everywhere(manifold, dtype):
    """At the origin, on the hyperplanes, at their poles and far away; for a normal of length zero too."""
    layer = GyroplaneLayer(manifold, 4).to(dtype)
    layer.weight.data[0] = 0
    layer.offset.data[1] = 0
    centre = manifold.expmap0(layer.offset.detach())
    normal = torch.nn.functional.normalize(layer.weight.detach(), dim=-1)
    reach = math.pi / 2 / manifold.k.abs().item() ** 0.5 if manifold.k != 0 else 3.0
    poles = manifold.expmap_frame(centre, reach * normal)
    on = on_gyroplanes(manifold, layer, 0.5).to(dtype)
    z = torch.cat([manifold.origin(1, dtype=dtype), centre, on, poles]).detach().requires_grad_()
    value = layer(z)
    assert torch.isfinite(value).all()
    for gradient in torch.autograd.grad(value.square().sum() + value.sum(), [z, layer.weight, layer.offset]):
        assert torch.isfinite(gradient).all()


def test_gradients_agree_with_finite_differences():
    for manifold in SPACES:
        layer = GyroplaneLayer(manifold, 3).double()

        def forward(z, weight, offset, layer=layer):
            return torch.func.functional_call(layer, {"weight": weight, "offset": offset}, (z,))

        z = points(manifold, 2, reach=0.7).requires_grad_()
        assert torch.autograd.gradcheck(forward, (z, layer.weight, layer.offset))


def test_it_starts_like_a_linear_layer_from_torchs_own_stream():
    torch.manual_seed(3)
    layer = GyroplaneLayer(Euclidean(16), 4000)
    linear = torch.nn.Linear(16, 4000)
    bias = -(layer.weight * layer.offset).sum(-1)
    assert layer.weight.std().item() == pytest.approx(linear.weight.std().item(), rel=0.05)
    assert bias.std().item() == pytest.approx(linear.bias.std().item(), rel=0.05)
    torch.manual_seed(3)
    assert torch.equal(GyroplaneLayer(Euclidean(16), 4000).weight, layer.weight)


def test_curvatures_belong_to_the_manifold_and_still_learn():
    manifold = Stereographic(2, k=-0.5, learn=True)
    layer = GyroplaneLayer(manifold, 4)
    assert set(layer.state_dict()) == {"weight", "offset"}
    (gradient,) = torch.autograd.grad(layer(manifold.random(5).detach()).sum(), [manifold.curvature])
    assert torch.isfinite(gradient) and gradient != 0


@pytest.mark.parametrize("manifold", [Hyperboloid(2, count=3, learn=True), Stereographic(3, learn=True)], ids=str)
def test_it_compiles_without_a_break_and_works_under_vmap(manifold):
    layer = GyroplaneLayer(manifold, 5)
    z = manifold.random(7).flatten(1).detach()
    torch._dynamo.reset()
    torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend="aot_eager")(z), layer(z))
    torch.testing.assert_close(torch.func.vmap(layer)(z), layer(z))


def test_bad_widths_and_points_are_named():
    with pytest.raises(ValueError, match="width=0"):
        GyroplaneLayer(Sphere(2), 0)
    with pytest.raises(ValueError, match="last axis must be 3"):
        GyroplaneLayer(Sphere(2), 4)(torch.randn(5, 2))
