"""What a step and an epoch take on a GPU, with the rate of the model's products beside that of the card's."""

import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..config import RunConfig
from ..models import build
from ..options import Model, Training
from .harness import Measurement, interleave, repeat, timed
from .steps import Bench, configuration, epoch, linear_shapes, passes, steps

BATCH = 128
FACES, SIDE, CHANNELS = 20_000, 64, (32, 64, 128, 256)
CARD = 8192  # side of the square product that measures the card
RATE = "TFLOP/s"


def step_time(bench: Bench, latent: str, mode: str) -> Measurement:
    """Milliseconds a step; beside it the rate of its products and the card's, in TFLOP/s."""
    contender = steps(bench, latent, batch=BATCH, mode=mode)
    seconds = repeat(contender, **bench.short()).values
    model = build(configuration(latent), bench.dataset.stats)
    flops = 2 * BATCH * sum(a * b * (2 if i == 0 else 3) for i, (a, b) in enumerate(linear_shapes(model)))
    rates = {
        RATE: [flops / each / 1e12 for each in seconds],
        f"the card's {RATE}": [card_rate(bench.device, "highest")],
    }
    return Measurement([1e3 * each for each in seconds], "ms", rates, RATE)


def step_ratio(bench: Bench, latent: str, flat: str, mode: str) -> Measurement:
    """A step of one latent space over one of another."""
    sides = (steps(bench, each, batch=BATCH, mode=mode) for each in (latent, flat))
    return interleave(*sides, **bench.short())


def epoch_time(bench: Bench, latent: str, mode: str) -> Measurement:
    """Seconds an epoch of all training records."""
    return repeat(epoch(bench, latent, mode=mode), **bench.long() | {"warmup": 2})


def face_rate(bench: Bench, latent: str, mode: str) -> Measurement:
    """Images a second of the convolutional model on 64x64 faces (noise of that shape), data resident."""
    config = RunConfig(
        dataset="celeba",
        data="00000000",
        protocol="standard",
        latent=latent,
        model=Model(hidden=CHANNELS, likelihood="gaussian"),
        training=Training(batch_size=BATCH),
        seed=0,
    )
    images = torch.randint(0, 256, (FACES, 3, SIDE, SIDE), dtype=torch.uint8)
    contender = passes(bench, config, mode, FACES, name="64x64 epoch", tensors={"images": images})
    seconds = repeat(contender._replace(units=1), **bench.long() | {"warmup": 2}).values
    model = build(config, {"tensors": {"images": {"shape": list(images.shape)}}})
    flops = 3 * forward_flops(model, images[:1]) * FACES
    # Torch's convolutions take float32 for TF32 where the card has it: the card is measured in the same.
    rates = {
        RATE: [flops / each / 1e12 for each in seconds],
        f"the card's {RATE}": [card_rate(bench.device, "high")],
    }
    return Measurement([FACES / each for each in seconds], "images/s", rates, RATE)


@torch.no_grad()
def forward_flops(model: nn.Module, images: Tensor) -> int:
    """Multiplications and additions of the products of one record's forward pass (linear, convolution)."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        model.terms(model.prepare({"images": images}))
    return counter.get_total_flops()


def card_rate(device: str, precision: str) -> float:
    """TFLOP/s of one large float32 product in torch's ``highest`` precision, or ``high``: TF32 where there is one."""
    a, b, out = (torch.randn(CARD, CARD, device=device) for _ in range(3))
    product: Callable[[], Tensor] = lambda: torch.mm(a, b, out=out)  # noqa: E731
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        timed(product, 2, time.perf_counter)
        return 2 * CARD**3 * 5 / timed(product, 5, time.perf_counter) / 1e12
    finally:
        torch.set_float32_matmul_precision(before)
