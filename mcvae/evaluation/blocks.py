"""A split in blocks of fixed size, each with noise of its own: what every evaluation walks over.

Block i of a split always sees the same noise, whatever ran before it, so one test image is binarised once for all
measures, and no measure changes the numbers of another or the caller's random state.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..data.pages import Reader
from ..training.seeding import stream

SIZE = 128
DRAWS = 32  # of a posterior, that predictions are averaged over
PIXELS, POSTERIOR, IMPORTANCE, PRIOR = "pixels", "posterior", "importance", "prior"  # purposes of noise


class Block(NamedTuple):
    """Records ``rows`` of a split, with the protocol applied: ``inputs`` as ``model.prepare`` returns them."""

    index: int
    rows: slice
    inputs: Any


def noise(purpose: str, index: int, device: torch.device) -> AbstractContextManager[None]:
    """torch's default stream, set to the stream ``(purpose, index)`` inside the block and restored after it.

    The same for every run, whatever its seed: runs are compared on the same binarised images.
    """
    return stream(0, f"evaluation/{purpose}/{index}", device)


def device_of(model: torch.nn.Module) -> torch.device:
    """Where the model's parameters lie."""
    return next(model.parameters()).device


def count(tensors: Mapping[str, Tensor]) -> int:
    """Number of records of a split."""
    return len(next(iter(tensors.values())))


def first(tensors: Mapping[str, Tensor], records: int | None) -> dict[str, Tensor]:
    """The first ``records`` of a split; all for None."""
    return {name: tensor[:records] for name, tensor in tensors.items()}


def blocks(model: torch.nn.Module, tensors: Mapping[str, Tensor], records: Tensor | None = None) -> Iterator[Block]:
    """Prepare a split block by block, on the model's device.

    Args:
        tensors: the raw tensors of a split, as ``Dataset.split`` returns them.
        records: int64 [n], the records to take, in this order; all for None. ``rows`` then counts along it.
    """
    device, reader = device_of(model), Reader(tensors.values())
    total = count(tensors) if records is None else len(records)
    for index, start in enumerate(range(0, total, SIZE)):
        rows = slice(start, min(start + SIZE, total))
        batch = {
            name: tensor[rows if records is None else records[rows]].to(device) for name, tensor in tensors.items()
        }
        with noise(PIXELS, index, device):
            yield Block(index, rows, model.prepare(batch, train=False))
        reader.count(rows.stop - rows.start)
    reader.give_back()  # many short walks would add up


def locations(model: torch.nn.Module, tensors: Mapping[str, Tensor], records: Tensor | None = None) -> Tensor:
    """Posterior locations [n, ambient_dim] of a split (the codes, for an autoencoder)."""
    with torch.inference_mode():
        return torch.cat([model.posterior(block.inputs).loc for block in blocks(model, tensors, records)])


@torch.inference_mode()
def predicted_properties(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> Tensor:
    """What the property head f predicts for the records of a split: float64 [n, T] on the CPU, in standard deviations.

    E[f(z)] under the posterior q(z|x), estimated with 32 draws. The head learns from draws; in a curved space of many
    dimensions all of them lie far from the posterior's location, where the head has then never been asked. The draws of
    an autoencoder are its code.
    """
    device, predicted = device_of(model), []
    for block in blocks(model, tensors):
        posterior = model.posterior(block.inputs)
        with noise(POSTERIOR, block.index, device):
            z = posterior.rsample((DRAWS,))
        predicted.append(model.properties(z).double().mean(0).cpu())
    return torch.cat(predicted)
