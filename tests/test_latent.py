"""Latent spaces from signatures: heads, priors, divergences and decoder inputs over flat tensors."""

import pytest
import torch
from torch.nn import functional

from mcvae.distributions import WrappedNormal
from mcvae.errors import UserError
from mcvae.latent import build
from mcvae.manifolds import Hyperboloid
from mcvae.signature import parse

SIGNATURES = ["e2", "s2", "h2", "h2,s2,e2", "6h2:learn", "s3:iso,2h4:k=-0.3", "2e2:iso", "s1:learn,h1", "3s2:k=2.0"]
SIGNATURES += ["d2", "p3:learn", "2u2:learn", "u3:k=0.4", "u2:iso:k=-0.4,d3:learn", "6p2"]
SIGNATURES += ["s2:vmf", "2s1:vmf:k=0.5,e2", "s5:ps", "3s2:vmf:learn", "h2:rn", "2p3:rn:learn", "s2:rn:k=2.0,s2:ps"]


@pytest.fixture(autouse=True)
def seed():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture(params=SIGNATURES)
def latent(request):
    return build(parse(request.param))


def test_shapes_follow_the_signature(latent):
    signature, n = latent.signature, latent.num_components
    assert (latent.dim, latent.ambient_dim) == (signature.dim, signature.ambient_dim)
    assert n == sum(c.count for c in signature.components) == len(latent.labels) == len(latent.components)
    q, p = latent.posterior(torch.randn(5, latent.parameter_dim)), latent.prior()
    z = q.rsample()
    assert z.shape == q.loc.shape == (5, latent.ambient_dim)
    assert q.rsample((3, 2)).shape == (3, 2, 5, latent.ambient_dim)
    assert q.log_prob(z).shape == p.log_prob(z).shape == latent.kl(q, p, z).shape == (5, n)
    assert p.rsample((4,)).shape == (4, latent.ambient_dim)
    many = q.rsample((3,))
    assert latent.kl(q, p, many).shape == (3, 5, n)
    assert latent.decoder_input(z).shape == (5, latent.decoder_dim)
    assert latent.logmap0(z).shape == (5, latent.dim)
    assert latent.dist(z[:, None], z).shape == (5, 5)
    assert latent.curvatures().shape == (n,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_parameters(latent, dtype):
    q, p = latent.posterior(torch.randn(5, latent.parameter_dim, dtype=dtype)), latent.prior()
    z = q.rsample()
    assert {z.dtype, q.log_prob(z).dtype, latent.kl(q, p, z).dtype, latent.decoder_input(z).dtype} == {dtype}
    assert latent.curvatures().dtype == torch.float64


def test_everything_passes_validation(latent):
    latent.validate_args = True
    q, p = latent.posterior(3 * torch.randn(50, latent.parameter_dim)), latent.prior()
    z = q.rsample()
    assert torch.isfinite(latent.kl(q, p, z)).all()
    assert torch.isfinite(p.log_prob(p.rsample((50,)))).all()
    assert latent.manifold.contains(z).all()


def test_expmap0_inverts_logmap0(latent):
    u = 0.5 * torch.randn(6, latent.dim, dtype=torch.float64)
    torch.testing.assert_close(latent.logmap0(latent.expmap0(u)), u)


def test_every_parameter_receives_a_finite_gradient(latent):
    parameters = (0.1 * torch.randn(5, latent.parameter_dim)).requires_grad_()
    q, p = latent.posterior(parameters), latent.prior()
    z = q.rsample()
    (latent.kl(q, p, z).sum() + latent.decoder_input(z).sin().sum()).backward()
    for tensor in (parameters, *latent.parameters()):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0


def test_kl_of_the_draw_equals_the_kl_of_a_copy(latent):
    """The shortcut for the last draw changes neither the value nor the gradient."""
    results = []
    for same in (True, False):
        torch.manual_seed(4)
        parameters = torch.randn(30, latent.parameter_dim, dtype=torch.float64, requires_grad=True)
        q, p = latent.posterior(parameters), latent.prior()
        z = q.rsample()
        divergence = latent.kl(q, p, z if same else z.clone())
        results.append((divergence, torch.autograd.grad(divergence.sum(), parameters)[0]))
    for left, right in zip(*results, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-8, atol=1e-8)


def test_posterior_is_the_head_of_the_design():
    """loc = expmap0(linear), scale = softplus + 1e-5, in the order of the parameters."""
    latent = build(parse("2h2"))
    parameters = torch.randn(5, 8)
    q = latent.posterior(parameters)
    manifold = Hyperboloid(2)
    expected = manifold.expmap0(parameters[:, :4].unflatten(-1, (2, 2)))
    torch.testing.assert_close(q.loc, expected.flatten(-2))
    scale = functional.softplus(parameters[:, 4:]).unflatten(-1, (2, 2)) + 1e-5
    z = q.rsample()
    expected = WrappedNormal(manifold, expected, scale).log_prob(z.unflatten(-1, (2, 3)))
    torch.testing.assert_close(q.log_prob(z), expected, rtol=1e-4, atol=1e-4)


def test_prior_of_flat_space_is_the_standard_normal():
    latent = build(parse("e3"))
    z = torch.randn(4, 3)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(-1, keepdim=True)
    torch.testing.assert_close(latent.prior().log_prob(z), expected)


def test_six_h2_equal_six_times_h2():
    """Value and gradient: six copies in one tensor operation, and six spaces one by one."""
    six, one = build(parse("6h2:k=-0.7")), build(parse("h2:k=-0.7"))
    parameters = torch.randn(10, six.parameter_dim, dtype=torch.float64)
    loc, scale = parameters[:, :12].unflatten(-1, (6, 2)), parameters[:, 12:].unflatten(-1, (6, 2))
    q = six.posterior(parameters)
    z = q.rsample()
    divergence = six.kl(q, six.prior(), z)
    for i, point in enumerate(z.unflatten(-1, (6, 3)).unbind(-2)):
        single = one.posterior(torch.cat([loc[:, i], scale[:, i]], -1))
        torch.testing.assert_close(divergence[:, i], one.kl(single, one.prior(), point).squeeze(-1))


def test_divergence_of_a_product_is_that_of_its_parts():
    product = build(parse("h2,s2:k=0.5,e3"))
    parts = [build(parse(text)) for text in ("h2", "s2:k=0.5", "e3")]
    parameters = torch.randn(10, product.parameter_dim, dtype=torch.float64)
    q, p = product.posterior(parameters), product.prior()
    z = q.rsample()
    divergence = product.kl(q, p, z)
    pieces = zip(
        parts,
        parameters.split([part.parameter_dim for part in parts], -1),
        z.split([part.ambient_dim for part in parts], -1),
        strict=True,
    )
    for i, (part, parameter, point) in enumerate(pieces):
        expected = part.kl(part.posterior(parameter), part.prior(), point)
        torch.testing.assert_close(divergence[:, i : i + 1], expected)
    x, y = z, p.rsample((10,)).double()
    x, y = product.manifold.projx(x), product.manifold.projx(y)
    sizes = [part.ambient_dim for part in parts]
    squares = [
        part.dist(a, b).square() for part, a, b in zip(parts, x.split(sizes, -1), y.split(sizes, -1), strict=True)
    ]
    torch.testing.assert_close(product.dist(x, y).square(), sum(squares))


@pytest.mark.parametrize(
    ("text", "choice", "width"),
    [
        ("h2,s2,e2", "default", 2 + 3 + 2),
        ("h2,s2,e2", "ambient", 8),
        ("h2,s2,e2", "tangent", 6),
        ("6h2", "default", 12),
        ("s2,e2", "default", 5),
        ("d2,p2,u2,s2:vmf", "default", 9),
        ("p2,s2:ps", "gyroplane", 5),
    ],
)
def test_decoder_input_is_ambient_or_tangent(text, choice, width):
    latent = build(parse(text), decoder_input=choice)
    z = latent.prior().rsample((4,))
    seen = latent.decoder_input(z)
    assert seen.shape == (4, width) and latent.decoder_dim == width
    if choice in ("ambient", "gyroplane"):
        assert seen is z
    if choice == "tangent":
        torch.testing.assert_close(seen, latent.logmap0(z))


def test_learned_prior_scale_is_one_positive_number_a_component():
    latent = build(parse("2h2,e3"), prior_scale="learned")
    parameters = list(latent.parameters())
    assert sum(p.numel() for p in parameters) == 3
    q, p = latent.posterior(torch.randn(5, latent.parameter_dim)), latent.prior()
    latent.kl(q, p, q.rsample()).sum().backward()
    assert all(torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0 for p in parameters)
    assert not list(build(parse("2h2,e3")).parameters())


def test_state_holds_what_is_learned_once():
    """Each learned tensor appears under one name, as safetensors asks; fixed curvatures are configuration."""
    latent = build(parse("2h2:learn,s2"), prior_scale="learned")
    state = latent.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state) == 3
    assert build(parse("2h2,s2")).state_dict() == {}
    assert latent.curvatures().tolist() == [-1.0, -1.0, 1.0]


def test_the_same_seed_draws_the_same_points(latent):
    parameters = torch.randn(5, latent.parameter_dim)
    draws = []
    for _ in range(2):
        torch.manual_seed(9)
        draws.append(latent.posterior(parameters).rsample((3,)))
    assert torch.equal(*draws)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("h10:rn", {}, "too far out for float32; on h10 choose k >= -0.7901"),
        ("e2", {"decoder_input": "raw"}, "choose one of default, ambient, tangent, gyroplane"),
        ("e2", {"prior_scale": "free"}, "choose one of fixed, learned"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(text, options, message):
    with pytest.raises(UserError, match=message):
        build(parse(text), **options)


def test_a_wrong_number_of_parameters_is_named():
    with pytest.raises(ValueError, match="last axis must be 4"):
        build(parse("e2")).posterior(torch.zeros(3, 5))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["h2,s2,e2", "2s2:learn", "u2:learn,p2,d2", "s2:vmf,s5:ps", "h2:rn"])
def test_a_step_compiles_to_one_graph(text):
    """rsample, log_prob and KL with fullgraph=True: no graph break, no synchronisation, the same numbers."""
    torch._dynamo.reset()  # it gives up after eight variants of one function
    latent = build(parse(text))

    def step(parameters, noise):
        q, p = latent.posterior(parameters), latent.prior()
        z = latent.manifold.expmap0(noise) if noise is not None else q.rsample()
        return latent.kl(q, p, z), latent.decoder_input(z)

    parameters, noise = torch.randn(4, latent.parameter_dim), torch.randn(4, latent.dim)
    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    for left, right in zip(compiled(parameters, noise), step(parameters, noise), strict=True):
        torch.testing.assert_close(left, right)
    divergence, seen = compiled(parameters, None)
    assert torch.isfinite(divergence).all() and torch.isfinite(seen).all()


@pytest.mark.parametrize("text", ["s2:vmf", "2s3:ps", "s2:vmf,e2"])
def test_a_head_that_starts_at_zero_points_to_the_pole(text):
    latent = build(parse(text))
    latent.validate_args = True
    parameters = torch.zeros(3, latent.parameter_dim, requires_grad=True)
    z = latent.posterior(parameters).rsample()
    z.sum().backward()
    assert latent.manifold.contains(z).all() and torch.isfinite(parameters.grad).all()


@pytest.mark.parametrize("text", ["h2:k=-0.1", "u2:learn", "2s2:vmf:learn", "s2,p2"])
def test_curvatures_stay_in_double_precision_when_the_model_does_not(text):
    latent = build(parse(text))
    before = latent.curvatures().tolist()
    after = latent.float().half().curvatures()
    assert after.dtype == torch.float64 and after.tolist() == before


@pytest.mark.parametrize("text", ["s2", "h2,s2", "s2:ps"])
def test_points_of_a_wrong_width_are_named(text):
    latent = build(parse(text))
    for function in (latent.decoder_input, latent.logmap0):
        with pytest.raises(ValueError, match=f"last axis must be {latent.ambient_dim}"):
            function(torch.ones(2, 9))


@pytest.mark.parametrize("text", ["h2:rn", "s1:vmf", "s2:vmf", "s3:ps", "u2:learn"])
def test_an_empty_batch_stays_empty(text):
    latent = build(parse(text))
    q = latent.posterior(torch.zeros(0, latent.parameter_dim))
    z = q.rsample((2,))
    assert z.shape == (2, 0, latent.ambient_dim) and latent.kl(q, latent.prior(), z).shape[:2] == (2, 0)


@pytest.mark.parametrize("latent", ["s64:vmf", "2s5:ps", "s128:vmf"])
def test_an_exponential_concentration_begins_at_the_dimension_and_stays_finite(latent):
    space = build(latent, concentration="exponential")
    parameters = torch.randn(4, space.parameter_dim, generator=torch.Generator().manual_seed(0))
    dim, count = space.components[0].dim, space.num_components
    for x, expected in ((0.0, 1 + dim), (1.0, None), (1e9, None), (-1e9, None)):
        parameters[:, -count:] = x
        parameters.requires_grad_().grad = None
        q = space.posterior(parameters)
        z = q.rsample()
        kl = space.kl(q, space.prior(), z)
        kl.sum().backward()
        assert z.isfinite().all() and kl.isfinite().all() and parameters.grad.isfinite().all()
        if expected is not None:
            concentration = q.parts[0].base.concentration
            torch.testing.assert_close(concentration, torch.full_like(concentration, expected))
        parameters = parameters.detach()


def test_an_unknown_concentration_is_refused():
    with pytest.raises(UserError, match="concentration 'linear': choose one of softplus, exponential"):
        build("s2:vmf", concentration="linear")


@pytest.mark.parametrize("latent", ["h64", "2h32", "p64", "u64", "h64:learn", "h128:iso"])
@pytest.mark.parametrize("size", [30.0, 1e4])
def test_no_posterior_far_out_is_cheaper_than_the_prior(latent, size):
    """Points end where the floating point does, so log q must: its KL is what it costs, never minus thousands."""
    space = build(latent)
    noise = torch.Generator().manual_seed(0)
    parameters = (size * torch.randn(16, space.parameter_dim, generator=noise)).requires_grad_()
    q = space.posterior(parameters)
    z = q.rsample()
    kl = space.kl(q, space.prior(), z)
    kl.sum().backward()
    assert kl.mean() > -1 and z.isfinite().all() and kl.isfinite().all()
    assert parameters.grad.isfinite().all() and (parameters.grad != 0).any()


@pytest.mark.parametrize("latent", ["h64", "p32:k=-0.25", "h20,e2"])
def test_bounds_leave_what_lies_near_as_it_is(latent, monkeypatch):
    """Bit for bit: the same head without bounds gives the same points."""
    parameters = 0.1 * torch.randn(5, build(latent).parameter_dim, generator=torch.Generator().manual_seed(0)) - 1
    parameters[:, : build(latent).dim] *= 0.05
    found = []
    for most in (12, 10_000):
        monkeypatch.setattr("mcvae.families.MOST_UNBOUND", most)
        q = build(latent).posterior(parameters)
        torch.manual_seed(1)
        found.append(q.rsample())
    assert torch.equal(*found)


@pytest.mark.parametrize("latent", ["s64:vmf", "2s9:vmf:k=0.25", "s5:ps:k=4", "e3,s30:vmf"])
def test_scaled_coordinates_have_the_variance_of_the_euclidean_ones(latent):
    space = build(latent, decoder_input="scaled")
    torch.manual_seed(0)
    seen = space.decoder_input(space.prior().rsample((20_000,)))
    assert seen.shape[-1] == space.decoder_dim
    torch.testing.assert_close(seen.square().mean(0), torch.ones(space.decoder_dim), atol=0.06, rtol=0)


def test_scaled_leaves_other_letters_as_by_default():
    z = build("e2,h2,d2").manifold.random(7)
    by = [build("e2,h2,d2", decoder_input=choice).decoder_input(z) for choice in ("default", "scaled")]
    assert torch.equal(*by)
