"""The optimiser is torch's, to the bit."""

import pytest
import torch
from torch import nn

from mcvae.training.adam import Adam


def quadratic(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)
    model.register_parameter("idle", nn.Parameter(torch.ones(2, dtype=dtype)))
    return model, torch.randn(11, 7, dtype=dtype), torch.randn(11, 3, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_steps_have_the_bits_of_torchs_fused_adam(dtype):
    ours, x, y = quadratic(dtype)
    theirs, _, _ = quadratic(dtype)
    adam, reference = Adam(ours.parameters()), torch.optim.Adam(theirs.parameters(), fused=True)
    for step in range(20):
        rate = 0.1 / (1 + step)
        reference.param_groups[0]["lr"] = rate
        for model, optimizer in ((ours, adam), (theirs, reference)):
            optimizer.zero_grad()
            (model(x) - y).square().mean().backward()
        adam.step(rate)
        reference.step()
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert torch.equal(ours.idle, torch.ones(2, dtype=dtype))


@pytest.mark.parametrize("largest_norm", [0.3, 1e3])
def test_clipping_has_the_bits_of_torchs(largest_norm):
    (ours, x, y), (theirs, _, _) = quadratic(torch.float32), quadratic(torch.float32)
    for model in (ours, theirs):
        model.register_parameter("precise", nn.Parameter(torch.ones(3, dtype=torch.float64)))
    adam, reference = Adam(ours.parameters()), Adam(theirs.parameters())
    for _ in range(5):
        for model, optimizer in ((ours, adam), (theirs, reference)):
            optimizer.zero_grad()
            ((model(x) - y).square().mean() + model.precise.pow(4).sum()).backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), largest_norm)
        adam.step(0.1, largest_norm=largest_norm)
        reference.step(0.1)
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_curvatures_have_their_own_rate_and_count_their_own_steps():
    """They wait for 4 steps, neither moving nor shrinking the others' clipped gradients, and then start as new."""
    curvature, weight = (nn.Parameter(torch.full((2,), value, dtype=torch.float64)) for value in (2.0, 3.0))
    adam = Adam([weight, curvature], curvatures=[curvature])
    alone = nn.Parameter(weight.detach().clone())
    reference = Adam([alone])
    for _ in range(4):
        for loss, optimizer in (
            (weight.square().sum() + 100 * curvature.sum(), adam),
            (alone.square().sum(), reference),
        ):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step(0.1, largest_norm=1.0)
        assert torch.equal(curvature, torch.full_like(curvature, 2.0))
    assert torch.equal(weight, alone)
    adam.zero_grad()
    curvature.square().sum().backward()
    adam.step(0.1, 0.01)
    torch.testing.assert_close(curvature.detach(), torch.full_like(curvature, 1.99))  # Adam's first step is its rate
    assert {"count": 5.0, "curvature_count": 1.0}.items() <= {
        k: v.sum().item() for k, v in adam.state().items()
    }.items()


def test_a_loaded_state_goes_on_with_the_same_bits():
    model, x, y = quadratic(torch.float32)
    adam = Adam(model.parameters())

    def step(optimizer):
        optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        optimizer.step(0.05)
        return [p.detach().clone() for p in model.parameters()]

    step(adam)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    state = {k: v.clone() for k, v in adam.state().items()}
    expected = step(adam)
    model.load_state_dict(weights)
    resumed = Adam(model.parameters())
    resumed.load_state(state)
    assert all(torch.equal(a, b) for a, b in zip(expected, step(resumed), strict=True))
