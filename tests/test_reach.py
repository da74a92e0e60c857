"""How far priors reach: the mass that wraps around a sphere, and the spaces that are refused or warned of."""

import pytest
import torch
from scipy import stats

from mcvae import latent
from mcvae.distributions import RiemannianNormal, largest_scale
from mcvae.errors import UserError
from mcvae.manifolds import MANIFOLDS
from mcvae.reach import check_reach, mass_beyond_injectivity
from mcvae.signature import FAMILIES, LEGAL_FAMILIES, LETTERS, parse

SPACES = ["e2", *(f"{letter}2:{f}" for f in FAMILIES for letter in LETTERS if letter in LEGAL_FAMILIES[f])]


@pytest.mark.parametrize("text", [*SPACES, *(f"2{text}:learn" for text in SPACES[1:])])
def test_every_space_of_the_language_can_be_built(text):
    space = latent.build(text)
    assert space.posterior(torch.randn(3, space.parameter_dim)).rsample().shape == (3, space.ambient_dim)


@pytest.mark.parametrize("dim", [1, 1.7, 2, 3, 10, 64, 1000, 5000])
def test_mass_beyond_injectivity_is_the_tail_of_chi_squared(dim):
    for k in (1e-4, 0.1, 1.0, 10.0, 1e3):
        for scale in (0.01, 0.1, 0.5, 1.0, 3.0, 30.0):
            expected = stats.chi2.sf(torch.pi**2 / (k * scale**2), dim)
            assert mass_beyond_injectivity(dim, k, scale) == pytest.approx(expected, rel=1e-11, abs=1e-14)


def test_nothing_lies_beyond_the_injectivity_radius_where_there_is_none():
    assert all(mass_beyond_injectivity(5, k, 1.0) == 0 for k in (-1.0, 0.0, 1e-320))


@pytest.mark.parametrize("arguments", [(0, 1.0, 1.0), (2, 1.0, 0.0), (2, float("nan"), 1.0)])
def test_impossible_arguments_are_named(arguments):
    with pytest.raises(ValueError, match="give dim > 0, scale > 0, finite k"):
        mass_beyond_injectivity(*arguments)


def test_spheres_too_small_for_their_prior_are_named():
    assert check_reach(parse("s2,h9,s9:vmf,s9:rn,d3:k=0.1,u5,p40")) == []
    assert len(check_reach(parse("s3,d4,u6:k=0.9"))) == 3
    assert "83% of the normal" in check_reach(parse("s15"))[0]


def test_riemannian_normals_that_float32_cannot_follow_are_refused():
    assert check_reach(parse("h9:rn,h5:rn:k=-4.0,p3:rn:k=-3.0,s40:rn")) == []
    for text in ("h9:rn:k=-1.01", "p3:rn:k=-4.3"):
        with pytest.raises(UserError, match=f"'{text}'.*too far out for float32"):
            check_reach(parse(text))


@pytest.mark.parametrize("letter", ["h", "p"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [1, 2, 7, 60])
def test_the_largest_scale_is_the_largest_that_validation_accepts(letter, dtype, dim):
    manifold = MANIFOLDS[letter](dim, k=-0.3)
    scale = largest_scale(manifold, dtype)
    z = RiemannianNormal(manifold, None, scale, validate_args=True).rsample((1000,))
    assert manifold.contains(z).all() and torch.isfinite(z).all()
    with pytest.raises(ValueError, match="too far out"):
        RiemannianNormal(manifold, None, 1.01 * scale, validate_args=True)
