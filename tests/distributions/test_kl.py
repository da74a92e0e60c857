"""The KL divergence: closed where it is known, else the estimate, whose mean is the divergence."""

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from mcvae.distributions import WrappedNormal, has_closed_form, kl
from mcvae.manifolds import Euclidean, Hyperboloid, Sphere

F64 = torch.float64


def pair(manifold, batch=4, iso=False):
    loc = manifold.expmap0(0.5 * torch.randn(batch, manifold.dim, dtype=F64))
    scale = torch.rand(batch, 1 if iso else manifold.dim, dtype=F64) + 0.3
    return WrappedNormal(manifold, loc, scale), WrappedNormal(manifold, None, torch.tensor([1.2], dtype=F64))


@pytest.mark.parametrize("iso", [False, True])
def test_closed_form_is_that_of_torch(iso):
    q, p = pair(Euclidean(3), iso=iso)
    expected = kl_divergence(
        Independent(Normal(q.loc, q.scale.expand(4, 3)), 1),
        Independent(Normal(torch.zeros(3, dtype=F64), p.scale.expand(3)), 1),
    )
    torch.testing.assert_close(kl_divergence(q, p), expected)
    shifted = WrappedNormal(Euclidean(3), torch.ones(3, dtype=F64), p.scale)
    expected = kl_divergence(
        Independent(Normal(q.loc, q.scale.expand(4, 3)), 1),
        Independent(Normal(torch.ones(3, dtype=F64), p.scale.expand(3)), 1),
    )
    torch.testing.assert_close(kl_divergence(q, shifted), expected)


def test_closed_form_is_the_mean_of_the_estimate():
    q, p = pair(Euclidean(3))
    z = q.sample((100_000,))
    estimate = q.log_prob(z) - p.log_prob(z)
    error = estimate.std(0) / len(z) ** 0.5
    assert ((estimate.mean(0) - kl_divergence(q, p)).abs() < 4 * error).all()


def test_closed_form_is_used_exactly_where_it_is_registered():
    q, p = pair(Euclidean(2))
    z = q.rsample((3,))
    assert has_closed_form(q, p)
    assert torch.equal(kl(q, p, z), kl_divergence(q, p).expand(3, 4))
    for manifold in (Sphere(2), Hyperboloid(2)):
        q, p = pair(manifold)
        assert not has_closed_form(q, p)
        with pytest.raises(NotImplementedError, match="closed"):
            kl_divergence(q, p)
        z = q.rsample((3,))
        assert torch.equal(kl(q, p, z), q.log_prob(z) - p.log_prob(z))


@pytest.mark.parametrize("manifold", [Sphere(2, k=0.7), Sphere(5), Hyperboloid(2), Hyperboloid(5, k=-0.3)], ids=str)
def test_estimates_are_positive_on_average_and_not_clamped(manifold):
    q, p = pair(manifold)
    z = q.sample((20_000,))
    estimate = kl(q, p, z)
    assert (estimate < 0).any()
    assert (estimate.mean(0) > -4 * estimate.std(0) / len(z) ** 0.5).all()


@pytest.mark.parametrize("letter", [Sphere, Hyperboloid])
def test_divergence_meets_the_closed_form_of_flat_space_as_k_goes_to_zero(letter):
    manifold = letter(2, k=1e-6 * letter.sign)
    u = torch.tensor([[0.4, -0.3]], dtype=F64)
    scale = torch.tensor([[0.5, 0.8]], dtype=F64)
    q = WrappedNormal(manifold, manifold.expmap0(u), scale)
    p = WrappedNormal(manifold, None, torch.ones(1, dtype=F64))
    z = q.sample((200_000,))
    estimate = kl(q, p, z)
    flat = kl_divergence(
        WrappedNormal(Euclidean(2), u, scale), WrappedNormal(Euclidean(2), None, torch.ones(1, dtype=F64))
    )
    assert ((estimate.mean(0) - flat).abs() < 4 * estimate.std(0) / len(z) ** 0.5).all()
