"""The models of one space are one space: points, distances, frames and volumes correspond."""

import pytest
import torch

from mcvae.manifolds import (
    Euclidean,
    Hyperboloid,
    PoincareBall,
    ProjectedSphere,
    Sphere,
    Stereographic,
    isometry,
)

F64 = torch.float64
MODELS = [
    *((a, b, -k) for a in (Hyperboloid, PoincareBall, Stereographic) for b in (Hyperboloid, PoincareBall, Stereographic)
      for k in (1e-4, 0.7, 10.0)),
    *((a, b, k) for a in (Sphere, ProjectedSphere, Stereographic) for b in (Sphere, ProjectedSphere, Stereographic)
      for k in (1e-4, 0.7, 10.0)),
    (Euclidean, Stereographic, 0.0),
    (Stereographic, Euclidean, 0.0),
]  # fmt: skip
PAIRS = [pytest.param(a(3, k=k), b(3, k=k), id=f"{a.letter}-{b.letter}:k={k:g}") for a, b, k in MODELS if a is not b]


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def vectors(manifold, n=40):
    """Frame vectors of up to three radii of curvature (0.95 of the injectivity radius on spheres)."""
    k = manifold.k.item()
    reach = (0.95 * torch.pi if k > 0 else 3.0) * (abs(k) ** -0.5 if k else 1.0)
    direction = torch.nn.functional.normalize(torch.randn(n, 3, dtype=F64), dim=-1)
    return direction * torch.rand(n, 1, dtype=F64) * reach


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_isometry_is_exp_after_log_at_the_origin(source, target):
    x = source.expmap0(vectors(source))
    y = isometry(source, target)(x)
    assert target.contains(y).all()
    torch.testing.assert_close(y, target.expmap0(source.logmap0(x)), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(isometry(target, source)(y), x, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_isometry_keeps_the_geometry(source, target):
    """Distances, the moving frame, transport and volumes."""
    to = isometry(source, target)
    u, v, w = vectors(source), vectors(source), vectors(source) / 3
    x, y = source.expmap0(u), source.expmap0(v)
    unit = abs(source.k.item()) ** -0.5 if source.k else 1.0
    transported = [
        m.transp0back(b, m.transp(a, b, m.transp0(a, w))) for m, a, b in ((source, x, y), (target, to(x), to(y)))
    ]
    for left, right in [
        (source.dist(x, y), target.dist(to(x), to(y))),
        (source.logmap_frame(x, y), target.logmap_frame(to(x), to(y))),
        (source.logmap0(source.expmap_frame(x, w)), target.logmap0(target.expmap_frame(to(x), w))),
        (to(source.geodesic(0.4, x, y)), target.geodesic(0.4, to(x), to(y))),
        transported,
    ]:
        torch.testing.assert_close(left / unit, right / unit, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(source.logdetexp0(u), target.logdetexp0(u), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_gradients_flow_through_an_isometry(source, target):
    """In the point and in the curvature, which both spaces share, they are those within one space."""
    k, results = source.k.item(), []
    v, w = vectors(source) / 2, vectors(source) / 2
    source, target = (type(m)(3, k=k, learn=m.letter != "e") for m in (source, target))
    for there, carry in ((target, isometry(source, target)), (source, lambda x: x)):
        u = v.clone().requires_grad_()
        value = there.dist(carry(source.expmap0(u)), there.expmap0(w)).sum()
        curvatures = [*source.parameters(), *target.parameters()]
        slopes = [1.0 if name == "curvature" else k for m in (source, target) for name, _ in m.named_parameters()]
        in_u, *in_k = torch.autograd.grad(value, [u, *curvatures], allow_unused=True, materialize_grads=True)
        results.append([in_u, sum(g / slope for g, slope in zip(in_k, slopes, strict=True))])
    if k == 0:
        results = [result[:1] for result in results]  # Euclidean space has no other curvature
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


def test_stacked_copies_are_carried_at_once():
    ks = [-0.3, -1.0, -4.0]
    source, target = Hyperboloid(2, k=ks, count=3), PoincareBall(2, k=ks, count=3)
    x = source.random(5, dtype=F64)
    y = isometry(source, target)(x)
    for i, k in enumerate(ks):
        torch.testing.assert_close(y[:, i], isometry(Hyperboloid(2, k=k), PoincareBall(2, k=k))(x[:, i]))


def test_points_at_the_edge_of_float32_stay_inside_the_ball():
    source, target = Hyperboloid(2), PoincareBall(2)
    x = source.expmap0(torch.tensor([[12.0, 0.0], [20.0, 1.0], [1e6, 1.0]]))
    assert target.contains(isometry(source, target)(x)).all()


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Hyperboloid(2), PoincareBall(3)),
        (Hyperboloid(2), PoincareBall(2, k=-0.5)),
        (Hyperboloid(2), Sphere(2)),
        (Hyperboloid(2), Stereographic(2)),
        (Hyperboloid(2, count=2), PoincareBall(2)),
    ],
    ids=str,
)
def test_spaces_that_differ_are_refused(source, target):
    with pytest.raises(ValueError, match="not isometric"):
        isometry(source, target)
