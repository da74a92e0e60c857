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
