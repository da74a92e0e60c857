"""The importance-sampled log-likelihood beside its decoder's matrix products."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..evaluation import log_likelihood
from ..training.fit import initial_state
from .harness import Contender, Measurement, interleave
from .steps import Bench, configuration


def time(bench: Bench, latent: str) -> Measurement:
    """The likelihood's time over that of the products that its decoder makes, in chunks of the very same sizes."""
    model = initial_state(configuration(latent), bench.dataset.stats, bench.device).model
    model.eval()
    images = {"images": bench.dataset.split("test")["images"][: bench.effort.images]}
    samples = bench.effort.samples

    def estimate() -> None:
        log_likelihood(model, images, samples=samples)

    with decoder_products(model) as made:
        estimate()
    run = products(made, bench.device)
    theirs = Contender("its decoder products", run)
    return interleave(Contender(f"{latent} log-likelihood", estimate), theirs, **bench.long())


@contextmanager
def decoder_products(model: nn.Module) -> Iterator[list[tuple[int, int, int]]]:
    """Inside, every product (rows, inputs, outputs) that the decoder's linear layers make is written down."""
    made: list[tuple[int, int, int]] = []

    def note(layer: nn.Linear, arguments: tuple[Tensor], output: Tensor) -> None:
        made.append((output.numel() // layer.out_features, layer.in_features, layer.out_features))

    handles = [m.register_forward_hook(note) for m in model.decoder.modules() if isinstance(m, nn.Linear)]
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()


def products(made: list[tuple[int, int, int]], device: str) -> Callable[[], None]:
    """The same products in the same order, bare, into memory that is there."""
    tensors = {
        (rows, inputs, outputs): (
            torch.randn(rows, inputs, device=device),
            torch.randn(outputs, inputs, device=device).t(),
            torch.empty(rows, outputs, device=device),
        )
        for rows, inputs, outputs in set(made)
    }

    def run() -> None:
        for shape in made:
            x, w, out = tensors[shape]
            torch.mm(x, w, out=out)

    return run
