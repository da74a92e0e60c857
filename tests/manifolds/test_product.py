"""A product is the sum of its parts."""

import pytest
import torch

from mcvae.manifolds import Euclidean, Hyperboloid, ProductManifold, Sphere


@pytest.fixture
def product() -> ProductManifold:
    return ProductManifold([Hyperboloid(2, k=[-1.0, -0.5], count=2), Sphere(3, k=0.7), Euclidean(2)])


def test_dimensions_and_curvatures_are_those_of_the_parts(product):
    assert (product.dim, product.ambient_dim, product.num_components) == (9, 12, 4)
    assert product.k.tolist() == [-1.0, -0.5, 0.7, 0.0]


def test_split_inverts_join(product):
    x = product.random(5)
    parts = product.split(x)
    assert [tuple(part.shape) for part in parts] == [(5, 2, 3), (5, 4), (5, 2)]
    assert torch.equal(product.join(parts), x)


@pytest.mark.parametrize("law", ["logmap0", "logmap", "frame", "transport", "projection"])
def test_product_obeys_the_laws_of_a_manifold(product, law):
    x, y = product.random(2, 6, dtype=torch.float64)
    u = 0.3 * torch.randn(6, product.dim, dtype=torch.float64)
    at_x = product.transp0(x, u)
    left, right = {
        "logmap0": lambda: (product.logmap0(product.expmap0(u)), u),
        "logmap": lambda: (product.logmap(x, product.expmap(x, at_x)), at_x),
        "frame": lambda: (product.logmap_frame(x, product.expmap_frame(x, u)), u),
        "transport": lambda: (
            product.inner(y, product.transp(x, y, at_x), product.transp(x, y, at_x)),
            product.norm(x, at_x).square(),
        ),
        "projection": lambda: (product.proju(product.projx(x), at_x), at_x),
    }[law]()
    torch.testing.assert_close(left, right)
    assert product.contains(x).all() and not product.contains(1.01 * x).any()


def test_squared_distances_and_logdeterminants_add_up(product):
    x, y = product.random(2, 6, dtype=torch.float64)
    parts = zip(product.factors, product.split(x), product.split(y), strict=True)
    squares = [factor.dist(a, b).square().reshape(6, -1).sum(-1) for factor, a, b in parts]
    torch.testing.assert_close(product.dist(x, y).square(), sum(squares))
    u = torch.randn(6, product.dim, dtype=torch.float64)
    parts = zip(product.factors, product.split_tangent(u), strict=True)
    logdets = [factor.logdetexp0(a).reshape(6, -1).sum(-1) for factor, a in parts]
    torch.testing.assert_close(product.logdetexp0(u), sum(logdets))
    torch.testing.assert_close(product.logdetexp(x, product.transp0(x, u)), sum(logdets))


def test_geodesics_have_constant_speed_in_the_product(product):
    x, y = product.random(2, 6, dtype=torch.float64)
    t = torch.rand(6, dtype=torch.float64)
    torch.testing.assert_close(product.dist(x, product.geodesic(t, x, y)), t * product.dist(x, y))


def test_distances_broadcast(product):
    x, y = product.random(4), product.random(7)
    distances = product.dist(x[:, None], y)
    assert distances.shape == (4, 7)
    torch.testing.assert_close(distances[2, 3], product.dist(x[2], y[3]))


def test_distance_to_itself_has_zero_gradient(product):
    x = product.random(3).requires_grad_()
    product.dist(x, x.detach()).sum().backward()
    assert (x.grad == 0).all()


def test_a_product_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no factors"):
        ProductManifold([])
