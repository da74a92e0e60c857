"""Measures of pictures against other people's code: SSIM, Fréchet and kernel distances, principal components, ROC."""

import math

import numpy as np
import pytest
import torch
from scipy import linalg, ndimage, stats
from sklearn import metrics
from sklearn.decomposition import PCA

from mcvae.evaluation.bits import BITS_KEYS, bits_metrics, bits_per_dim
from mcvae.evaluation.frechet import Moments, frechet_distance, kernel_distance, moments
from mcvae.evaluation.likelihood import Bound, LogLikelihood
from mcvae.evaluation.pca import principal_components, project, squared_error
from mcvae.evaluation.ranking import equal_error_rate, weighted_auroc
from mcvae.evaluation.ssim import ssim
from mcvae.models.likelihoods import Gaussian
from mcvae.models.pixels import Logistic
from mcvae.training.ranking import auroc


@pytest.fixture
def noise():
    return torch.Generator().manual_seed(1)


def reference_ssim(x, y):
    """Wang et al.'s formula over scipy's Gaussian filter, away from the borders."""

    def smooth(image):
        return ndimage.gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

    values = []
    for a, b in zip(x.numpy().astype(float), y.numpy().astype(float), strict=True):
        ma, mb = smooth(a), smooth(b)
        va, vb, cov = smooth(a * a) - ma**2, smooth(b * b) - mb**2, smooth(a * b) - ma * mb
        c1, c2 = 0.01**2, 0.03**2
        values.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(values)


def test_ssim_is_the_papers_formula(noise):
    x = torch.rand(4, 3, 16, 20, generator=noise)
    y = (x + 0.2 * torch.randn(x.shape, generator=noise)).clamp(0, 1)
    expected = [reference_ssim(a, b) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(ssim(x, y).double(), torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_ssim_of_a_picture_with_itself_is_one_and_order_does_not_matter(noise):
    x, y = torch.rand(2, 3, 3, 12, 12, generator=noise)
    torch.testing.assert_close(ssim(x, x), torch.ones(3))
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    with pytest.raises(ValueError, match="11x11"):
        ssim(x[..., :8], y[..., :8])


@pytest.mark.parametrize("rank", [6, 3])
def test_frechet_distance_is_the_formula_of_matrix_roots(noise, rank):
    mix = torch.randn(2, rank, 6, generator=noise, dtype=torch.float64)
    x = torch.randn(50, rank, generator=noise, dtype=torch.float64) @ mix[0]
    y = torch.randn(80, rank, generator=noise, dtype=torch.float64) @ mix[1] + 0.5
    a, b = np.cov(x.numpy().T), np.cov(y.numpy().T)
    root = linalg.sqrtm(a @ b + 1e-12 * np.eye(6)).real
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum().item() + np.trace(a + b - 2 * root)
    found = frechet_distance(moments(x.split(20)), moments([y]))
    assert found == pytest.approx(expected, rel=1e-4)


def test_frechet_distance_of_normals_on_a_line_is_in_closed_form(noise):
    x = torch.randn(1000, 1, generator=noise, dtype=torch.float64)
    first, second = moments([x]), moments([3 + 2 * x])
    scale, shift = x.std(), 3 + x.mean()
    assert frechet_distance(first, second) == pytest.approx((shift**2 + scale**2).item(), rel=1e-9)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)


def test_moments_need_two_features():
    with pytest.raises(ValueError, match="fewer than two"):
        moments([torch.zeros(1, 3)])
    both = Moments(2)
    both.add(torch.tensor([[0.0, 1.0], [2.0, 5.0]]))
    assert both.covariance.tolist() == [[2.0, 4.0], [4.0, 8.0]]


def test_kernel_distance_is_unbiased(noise):
    """Zero on average for two draws of one distribution, and the squared distance of feature means for two others."""
    draws = torch.randn(400, 2, 20, 3, generator=noise, dtype=torch.float64)
    values = torch.tensor([kernel_distance(x, y) for x, y in draws])
    assert values.mean().abs() < 4 * values.std() / 20
    x, y = torch.randn(3, 4, generator=noise), torch.randn(2, 4, generator=noise)

    def kernel(a, b):
        return (float(a @ b) / 4 + 1) ** 3

    own = sum(kernel(x[i], x[j]) for i in range(3) for j in range(3) if i != j) / 6
    other = (kernel(y[0], y[1]) + kernel(y[1], y[0])) / 2
    across = sum(kernel(a, b) for a in x for b in y) / 6
    assert kernel_distance(x, y) == pytest.approx(own + other - 2 * across, rel=1e-5)


def test_principal_components_span_what_those_of_sklearn_do(noise):
    pixels = torch.randn(90, 4, generator=noise) @ torch.randn(4, 75, generator=noise) * 20
    pixels = pixels + 4 * torch.randn(90, 75, generator=noise)
    images = (pixels - pixels.min()).div(pixels.max() - pixels.min()).mul(255).byte().view(90, 3, 5, 5)
    records = torch.arange(5, 85)
    found = principal_components(images, records, 4)
    oracle = PCA(4).fit(images[records].flatten(1).numpy() / 255)
    torch.testing.assert_close(found.mean, torch.tensor(oracle.mean_).float(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(4), rtol=0, atol=1e-5)
    overlap = (found.directions.double() @ torch.tensor(oracle.components_).T.double()).abs().diagonal()
    assert overlap.min() > 0.9999  # the same directions in the same order, up to their signs
    coordinates = project(images, torch.arange(90), found)
    assert coordinates.shape == (90, 4)
    torch.testing.assert_close(coordinates[5:85].mean(0), torch.zeros(4), atol=1e-5, rtol=0)


def test_more_components_than_there_are_is_an_error():
    with pytest.raises(ValueError, match="there are fewer"):
        principal_components(torch.zeros(5, 3, 2, 2, dtype=torch.uint8), torch.arange(5), 5)


def test_auroc_is_that_of_sklearn_with_ties(noise):
    scores = torch.randint(0, 6, (200, 3), generator=noise).float()
    truth = torch.randint(0, 2, (200, 3), generator=noise)
    expected = [metrics.roc_auc_score(t, s) for t, s in zip(truth.T.numpy(), scores.T.numpy(), strict=True)]
    torch.testing.assert_close(auroc(scores, truth), torch.tensor(expected, dtype=torch.float64))
    assert auroc(scores, torch.zeros(200, 3)).isnan().all()


def test_the_equal_error_rate_is_where_the_roc_meets_the_diagonal(noise):
    truth = torch.randint(0, 2, (300,), generator=noise)
    scores = torch.randn(300, generator=noise) + truth
    rate = equal_error_rate(scores, truth)
    wrong, right, _ = metrics.roc_curve(truth, scores, drop_intermediate=False)
    assert np.minimum(wrong, 1 - right).max() <= rate <= np.maximum(wrong, 1 - right).min()
    many = torch.randn(40_000, generator=noise)
    kind = torch.arange(40_000) % 2
    assert equal_error_rate(many + kind, kind) == pytest.approx(stats.norm.cdf(-0.5), abs=0.01)
    assert equal_error_rate(truth.float(), truth) == 0
    assert equal_error_rate(-truth.float(), truth) == 1
    assert equal_error_rate(torch.zeros(300), truth) == 0.5


def test_bits_of_uniform_levels_are_eight():
    assert bits_per_dim(-12 * math.log(256), 0.0, 12) == pytest.approx(8)


def test_bits_of_a_density_are_those_of_the_mass_in_its_bins(noise):
    """Within a thousandth of the exact integral over bins, where the scale is not below two levels."""
    image = torch.randint(30, 220, (1, 3, 4, 4), generator=noise).double() / 255
    error = torch.randn(image.shape, generator=noise)
    for scale in (2 / 255, 0.03, 0.2):
        output = torch.logit((image + scale * error).clamp(0.01, 0.99))
        density = Gaussian(3, scale=scale).double()
        normal = torch.distributions.Normal(output.sigmoid(), density.log_scale.exp().detach())
        mass = normal.cdf(image + 0.5 / 255) - normal.cdf(image - 0.5 / 255)
        exact = -mass.log().sum().item() / (48 * math.log(2))
        found = bits_per_dim(density(output, image).item(), density.log_level, 48)
        assert found == pytest.approx(exact, abs=1e-2 if scale < 0.02 else 1e-3)


def bounds(elbo, value):
    """Results for a model of levels, of pictures of twelve numbers; all but the values is of no importance here."""
    elbo, value = elbo.double() * 12 * math.log(2), value.double() * 12 * math.log(2)
    zero = torch.zeros_like(value)
    return Bound(-elbo, zero, zero), LogLikelihood(-value, zero, zero, zero)


def test_bits_and_their_gain_are_of_the_records_that_they_name(noise):
    model = torch.nn.Module()
    model.likelihood = Logistic(3)
    test = {"images": torch.zeros(50, 3, 2, 2, dtype=torch.uint8)}
    elbo = 6 + torch.rand(50, generator=noise)
    ours = elbo[:20] - 0.1 * torch.rand(20, generator=noise)
    found = bits_metrics(model, test, *bounds(elbo, ours))
    assert tuple(found) == BITS_KEYS
    assert found["test.bits_per_dim_elbo"] == pytest.approx(elbo.mean().item())
    assert found["test.bits_per_dim_elbo_same"] == pytest.approx(elbo[:20].mean().item())
    assert found["test.bits_per_dim"] == pytest.approx(ours.mean().item())
    assert found["test.bits_per_dim_gain"] == pytest.approx((elbo[:20] - ours).mean().item(), rel=1e-4)
    assert found["test.bits_per_dim_n"] == 20
    for name, values in (("elbo_se", elbo), ("se", ours), ("gain_se", elbo[:20] - ours)):
        assert found[f"test.bits_per_dim_{name}"] == pytest.approx(stats.sem(values.numpy()), rel=1e-4)


def test_bits_do_not_exist_without_a_likelihood():
    model = torch.nn.Module()
    model.likelihood = Logistic(3)
    test = {"images": torch.zeros(2, 3, 2, 2, dtype=torch.uint8)}
    limits, estimate = bounds(torch.ones(2), torch.ones(1))
    assert set(bits_metrics(model, test, limits._replace(elbo=None), None).values()) == {None}
    assert bits_metrics(model, test, limits, estimate)["test.bits_per_dim_se"] is None  # of a single record
    model.likelihood = Gaussian(3, scale=1e-3)
    assert set(bits_metrics(model, test, limits, estimate).values()) == {None}


def test_the_weighted_area_is_sklearns_and_that_of_repeated_records(noise):
    scores = torch.randint(0, 40, (300,), generator=noise) / 8.0  # with ties
    truth = (scores / 6 + torch.rand(300, generator=noise) > 0.9).long()
    weights = torch.randint(0, 4, (6, 300), generator=noise)
    found = weighted_auroc(scores, truth, weights.split(4))
    for area, weight in zip(found, weights, strict=True):
        assert area.item() == pytest.approx(metrics.roc_auc_score(truth, scores, sample_weight=weight))
        repeated = torch.arange(300).repeat_interleave(weight)
        assert area.item() == pytest.approx(metrics.roc_auc_score(truth[repeated], scores[repeated]))
    alone = weighted_auroc(scores, truth, [(truth > 0).long().unsqueeze(0)])
    assert alone.isnan().all()  # nothing without the property counts


def test_the_error_of_pictures_made_from_components_is_sklearns(noise):
    images = torch.randint(0, 256, (40, 3, 4, 4), generator=noise, dtype=torch.uint8)
    train, test = torch.arange(30), torch.arange(30, 40)
    components = principal_components(images, train, 5)
    pixels = images.flatten(1).double().numpy() / 255
    fitted = PCA(5, svd_solver="full").fit(pixels[:30])
    made = fitted.inverse_transform(fitted.transform(pixels[30:])).clip(0, 1)
    expected = np.mean((made - pixels[30:]) ** 2)
    assert squared_error(images, test, components) == pytest.approx(expected, rel=1e-2)
