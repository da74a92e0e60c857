"""Twins written by hand against the formulas that torch differentiates: values, gradients, and their gradients."""

import pytest
import torch

from mcvae.manifolds import fused, hyperboloid, sphere, stereographic

F64 = torch.float64
SPACES = {  # name -> module, curvature, options of its formulas, reach of √|k| r, and of what float32 can differentiate
    "h": (hyperboloid, -0.7, (), (8.0, 3.0)),
    "s": (sphere, 0.7, (), (3.0, 2.0)),
    "d": (stereographic, 0.7, (1,), (3.0, 2.0)),
    "p": (stereographic, -0.7, (-1,), (8.0, 3.0)),
    "u+": (stereographic, 0.7, (0,), (3.0, 2.0)),
    "u-": (stereographic, -0.7, (0,), (8.0, 3.0)),
    "u0": (stereographic, 0.0, (0,), (3.0, 3.0)),
}
VERBS = ("expmap0", "logmap0", "expmap_frame", "logdetexp0")


def verb(name, space):
    module, _, options, _ = SPACES[space]
    if name == "logdetexp0":
        options = options or ((1,) if module is sphere else (-1,))
        return fused.log_determinant, options
    return getattr(module, f"_{name.upper()}"), options


def vectors(space, dim, dtype=F64, n=24):
    """Of lengths from 0 to the reach."""
    _, k, _, reach = SPACES[space]
    lengths = torch.cat([torch.tensor([0.0]), torch.logspace(-9, 0, n - 1)]).double() * reach[dtype != F64]
    direction = torch.nn.functional.normalize(torch.randn(n, dim, dtype=F64), dim=-1)
    return (direction * lengths[torch.randperm(n)].unsqueeze(-1) / (abs(k) or 1) ** 0.5).to(dtype)


def arguments(name, space, dim, dtype=F64):
    module, k, options, _ = SPACES[space]
    k = torch.tensor([k], dtype=dtype)
    u = vectors(space, dim, dtype)
    if name in ("expmap0", "logdetexp0"):
        return u, k
    x = module._EXPMAP0.formula(u, k, *options)
    return (x, k) if name == "logmap0" else (x, vectors(space, dim, dtype), k)


def gradients(call, tensors):
    """Results, and gradients of a random weighted sum of them."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    results = call(*leaves)
    results = results if isinstance(results, tuple) else (results,)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(result.shape, dtype=F64, generator=generator).to(result.dtype) for result in results]
    return (*results, *torch.autograd.grad(results, leaves, weights))


def errors(found, expected):
    """The largest of each, in multiples of the size of its row, or of 1."""
    assert [a.shape for a in found] == [b.shape for b in expected]
    pairs = zip(found, expected, strict=True)
    rows = [(a.detach().double().reshape(len(a), -1), b.detach().reshape(len(b), -1)) for a, b in pairs]
    return [((a - b).abs().amax(1) / b.abs().amax(1).clamp_min(1.0)).max().item() for a, b in rows]


@pytest.mark.parametrize("dim", [1, 3])
@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("space", SPACES)
def test_twins_have_the_value_and_the_gradients_of_the_formula(space, name, dim):
    twin, options = verb(name, space)
    tensors = arguments(name, space, dim)
    call = twin if twin.second is None else twin.both
    found = gradients(lambda *t: call(*t, options=options), tensors)
    assert found[0].grad_fn.name() == "_NodeBackward"
    assert max(errors(found, gradients(lambda *t: twin.plain(*t, *options), tensors))) < 1e-10


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("space", SPACES)
def test_in_single_precision_twins_are_as_accurate_as_the_formula(space, name):
    twin, options = verb(name, space)
    tensors = arguments(name, space, 3, torch.float32)
    exact = gradients(lambda *t: twin.formula(*t, *options), [t.double() for t in tensors])
    ours = errors(gradients(lambda *t: twin(*t, options=options), tensors), exact)
    theirs = errors(gradients(lambda *t: twin.formula(*t, *options), tensors), exact)
    rounding = 32 * torch.finfo(torch.float32).eps
    assert all(a <= max(2 * b, rounding) for a, b in zip(ours, theirs, strict=True)), (ours, theirs)


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize("space", SPACES)
def test_twins_can_be_differentiated_twice(space, name):
    twin, options = verb(name, space)
    tensors = [t.requires_grad_() for t in arguments(name, space, 2)]
    tensors = [t[-3:].detach().requires_grad_() if t.ndim > 1 else t for t in tensors]
    assert torch.autograd.gradgradcheck(lambda *t: twin(*t, options=options), tensors, atol=1e-4)


@pytest.mark.parametrize("space", ["h", "s", "d", "p", "u+", "u-"])
def test_gradients_far_out_and_at_antipodes_are_finite(space):
    module, k, options, _ = SPACES[space]
    k = torch.tensor([k])
    ends = torch.tensor([0.0, 1e-30, torch.pi, 30.0, 44.0, 1e9, 1e16]) / k.abs().sqrt()
    u = (ends.unsqueeze(-1) * torch.tensor([0.6, -0.8])).requires_grad_()
    k.requires_grad_()
    x = module._EXPMAP0(u, k, options=options)
    for v in (u, -u, u.flip(0)):
        for result in module._EXPMAP_FRAME.both(x, v, k, options=options)[0], module._LOGMAP0(x, k, options=options):
            found = torch.autograd.grad(result.sum(), [u, k], retain_graph=True)
            assert all(torch.isfinite(gradient).all() for gradient in found)


def test_gradients_of_arguments_that_broadcast_are_summed():
    x, u, k = arguments("expmap_frame", "p", 3)
    u = torch.stack([u, 0.5 * u, u.flip(0)])
    twin, options = verb("expmap_frame", "p")
    found = gradients(lambda *t: twin(*t, options=options), (x, u, k))
    assert max(errors(found, gradients(lambda *t: twin.formula(*t, *options), (x, u, k)))) < 1e-11


def test_a_tensor_that_is_both_arguments_has_the_gradient_of_both():
    x, k = 0.1 * torch.randn(4, 2, dtype=F64, requires_grad=True), torch.tensor([-1.0], dtype=F64)
    twin, options = verb("expmap_frame", "p")
    first = torch.autograd.grad(twin(x, x, k, options=options).sum(), x, create_graph=True)[0]
    assert torch.allclose(first, torch.autograd.grad(twin(x, x, k, options=options).sum(), x)[0])


def test_without_gradients_and_under_transforms_the_formula_is_used():
    u, k = arguments("expmap0", "h", 2)
    expected = hyperboloid._expmap0(u, k)
    assert torch.equal(hyperboloid._EXPMAP0(u, k), expected)
    assert torch.equal(torch.func.vmap(lambda v: hyperboloid._EXPMAP0(v, k))(u), expected)
