"""How pixels are treated: what each protocol makes of an image in training and in test."""

import pytest
import torch

from mcvae.models.factory import PIXELS
from mcvae.models.inputs import StaticBinary

RAMP = torch.arange(256, dtype=torch.uint8).reshape(16, 16)


@pytest.fixture
def batch():
    return {"images": RAMP.expand(400, 16, 16), "ids": torch.arange(400, dtype=torch.int32)}


@pytest.mark.parametrize("name", ["dynamic", "static"])
@pytest.mark.parametrize("train", [True, False])
def test_drawn_pixels_are_one_with_the_probability_that_their_grey_value_says(batch, name, train):
    torch.manual_seed(0)
    observed = PIXELS[name]()(batch, train).observed
    assert set(observed.unique().tolist()) == {0.0, 1.0} and observed.dtype == torch.float32
    probability = RAMP.double() / 255
    error = (observed.double().mean(0) - probability) / (probability * (1 - probability) / 400).sqrt().clamp(min=1e-9)
    assert error.square().mean().sqrt() < 1.2  # of one standard error each, 256 pixels
    assert observed[:, 0, 0].sum() == 0 and observed[:, -1, -1].all()


def test_static_pixels_are_the_same_at_every_visit_and_belong_to_the_record(batch):
    torch.manual_seed(0)
    first = StaticBinary()(batch, True).observed
    torch.manual_seed(1)
    order = torch.randperm(400)
    again = StaticBinary()({name: tensor[order] for name, tensor in batch.items()}, False).observed
    assert torch.equal(again, first[order])
    assert not torch.equal(first[0], first[1])


def test_static_pixels_of_neighbours_are_independent():
    records = torch.arange(60_000, dtype=torch.int32)
    observed = StaticBinary()({"images": torch.full((60_000, 2, 2), 128, dtype=torch.uint8), "ids": records}, True)
    pixels = observed.observed.flatten(1)
    correlation = torch.corrcoef(torch.cat([pixels, pixels.roll(1, 0)], 1).T)
    assert (correlation - torch.eye(8)).abs().max() < 0.02


def test_mixed_pixels_are_drawn_in_training_and_cut_in_test(batch):
    mixed = PIXELS["mixed"]()
    torch.manual_seed(0)
    drawn = mixed(batch, True).observed
    torch.manual_seed(0)
    assert torch.equal(drawn, PIXELS["dynamic"]()(batch, True).observed)
    assert torch.equal(mixed(batch, False).observed, PIXELS["threshold"]()(batch, False).observed)
    assert torch.equal(mixed(batch, False).observed, (batch["images"] >= 128).float())


def test_only_static_pixels_need_to_know_the_record():
    assert {name for name, protocol in PIXELS.items() if "ids" in protocol.reads} == {"static"}
