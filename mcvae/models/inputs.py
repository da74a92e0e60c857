"""What a model reads, scores and predicts: the protocols that turn raw uint8 batches into tensors, on their device.

Each protocol is a module with ``forward(batch, train) -> Inputs``, and ``reads`` names the prepared tensors that it
needs of a batch. Randomness (dynamic binarisation, word dropout) comes from torch's default stream, so that whoever
trains or evaluates seeds it in one place.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from . import graph

PAD, START, END = 0, 1, 2  # the first three tokens of every vocabulary
WORD_DROPOUT = 0.1  # share of the decoder's prompt that is hidden in training, so that it has to listen to z


class Inputs(NamedTuple):
    """One batch, ready for the model; ``B`` records.

    observed: what the likelihood scores: images [B, ...] in [0, 1]; qm9: tokens [B, L] after the start token, or the
        codes [B, 63] of a graph.
    features: what the encoder reads.
    targets: standardised properties [B, T] (qm9), else None.
    prompt: what a teacher-forced decoder reads, [B, L]: the observed tokens, one place later (qm9), else None.
    """

    observed: Tensor
    features: Tensor
    targets: Tensor | None = None
    prompt: Tensor | None = None


class DynamicBinary(nn.Module):
    """Pixels drawn from Bernoulli(x / 255) anew at every visit (Salakhutdinov & Murray 2008; Burda et al. 2016)."""

    reads = ("images",)

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """images uint8 [B, H, W] -> {0, 1}."""
        images = batch["images"]
        # In place: each new tensor of this size costs as much as filling it.
        observed = torch.rand(images.shape, device=images.device).mul_(255.0).lt_(images)
        return Inputs(observed, observed)


class ThresholdBinary(nn.Module):
    """Pixels above 127 are one."""

    reads = ("images",)

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """images uint8 [B, H, W] -> {0, 1}."""
        observed = (batch["images"] > 127).to(torch.get_default_dtype())
        return Inputs(observed, observed)


class MixedBinary(nn.Module):
    """Pixels drawn anew in training, and cut at 0.5 in validation and test (Skopek et al. 2020)."""

    reads = ("images",)

    def __init__(self) -> None:
        super().__init__()
        self.drawn, self.cut = DynamicBinary(), ThresholdBinary()

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """images uint8 [B, H, W] -> {0, 1}."""
        return (self.drawn if train else self.cut)(batch, train)


class StaticBinary(nn.Module):
    """Pixels drawn from Bernoulli(x / 255) once and for ever: a hash of record and pixel takes the place of chance.

    Not the draw that Larochelle & Murray (2011) published, but one like it.
    """

    reads = ("images", "ids")

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """images uint8 [B, H, W], ids int32 [B] -> {0, 1}."""
        images = batch["images"]
        pixels = images[0].numel()
        place = batch["ids"].long().unsqueeze(-1) * pixels + torch.arange(pixels, device=images.device)
        # Less than 255 of 255 would need x > 254: uniform on 0..254, so that white pixels are always one.
        chance = (_mixed(place) % 255).reshape(images.shape)
        observed = (chance < images).to(torch.get_default_dtype())
        return Inputs(observed, observed)


def _mixed(value: Tensor) -> Tensor:
    """Whole numbers below 2^62 scattered over 0 .. 2^31 - 2: rounds of a linear congruence and a shift."""
    for multiplier in (48_271, 69_621, 16_807):
        value = (value % 2_147_483_647 + 1) * multiplier % 2_147_483_647
        value = value ^ (value >> 15)
    return value


class Grey(nn.Module):
    """Pixels as they are, in [0, 1]."""

    reads = ("images",)

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """images uint8 [B, ...] -> [0, 1]."""
        observed = batch["images"].to(torch.get_default_dtype()) / 255
        return Inputs(observed, observed)


class Observations(nn.Module):
    """Vectors of real numbers as they are."""

    reads = ("observations",)

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """observations float32 [B, D]."""
        observed = batch["observations"].to(torch.get_default_dtype())
        return Inputs(observed, observed)


class Molecules(nn.Module):
    """Molecules with their properties in standard deviations of the training data.

    The encoder reads tokens or packed graphs (:func:`mcvae.models.graph.pack`), and the decoder makes either.
    """

    def __init__(
        self,
        stats: Mapping[str, Any],
        encoder: str = "sequence",
        decoder: str = "sequence",
        word_dropout: float = WORD_DROPOUT,
    ) -> None:
        super().__init__()
        targets = stats["targets"]
        self.register_buffer("mean", torch.tensor([t["mean"] for t in targets], dtype=torch.float64), persistent=False)
        self.register_buffer("std", torch.tensor([t["std"] for t in targets], dtype=torch.float64), persistent=False)
        self.reads_graphs, self.makes_graphs = encoder == "graph", decoder == "graph"
        self.word_dropout = word_dropout
        tokens = () if self.reads_graphs and self.makes_graphs else ("tokens",)
        graphs = graph.TENSORS if self.reads_graphs or self.makes_graphs else ()
        self.reads = (*tokens, "properties", *graphs)

    def forward(self, batch: Mapping[str, Tensor], train: bool) -> Inputs:
        """tokens uint8 [B, L + 1] from the start token on, graphs (:mod:`mcvae.data.graphs`), properties [B, T]."""
        # Standardised in double precision: absolute energies keep few digits after the mean is taken off in single.
        targets = ((batch["properties"] - self.mean) / self.std).to(torch.get_default_dtype())
        packed = graph.pack(batch) if self.reads_graphs or self.makes_graphs else None
        if self.makes_graphs:
            return Inputs(graph.codes(packed), packed if self.reads_graphs else batch["tokens"].long()[:, 1:], targets)
        tokens = batch["tokens"].long()
        prompt, observed = tokens[:, :-1], tokens[:, 1:]
        if train and self.word_dropout:
            hidden = torch.rand(prompt.shape, device=prompt.device) < self.word_dropout
            prompt = torch.where(hidden & (prompt != START), PAD, prompt)
        return Inputs(observed, packed if self.reads_graphs else observed, targets, prompt)
