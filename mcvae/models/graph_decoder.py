"""One-shot decoder of molecular graphs: all atoms and bonds at once, independent given z, and their likelihood."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .graph import ATOMS, BONDS, CHARGES, HYDROGENS
from .mlp import FirstLayer

CLASSES = max(ATOMS, HYDROGENS, CHARGES, BONDS)


class GraphDecoder(nn.Module):
    """[..., decoder_dim] -> logits [..., 3 N + N (N - 1) / 2, 5], in the order of :func:`mcvae.models.graph.codes`.

    z becomes a vector a place; rounds of attention-free mixing let every pair of places see both of them, and every
    place all of its pairs; so what is independent given z is made from one common picture. Codes that a kind does not
    have get a logit of -inf. ``precision`` is that of the layers between.
    """

    def __init__(
        self,
        decoder_dim: int,
        width: int,
        state: int,
        size: int,
        first: FirstLayer = nn.Linear,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.size, self.precision = size, precision
        pairs = size * (size - 1) // 2
        self.read = nn.Sequential(first(decoder_dim, 2 * state), nn.SiLU(), nn.Linear(2 * state, 2 * state), nn.SiLU())
        self.places = nn.Linear(2 * state, size * width)
        self.pairs = nn.Linear(2 * state, pairs * width // 2)
        self.rounds = nn.ModuleList(PairLayer(width, size) for _ in range(3))
        self.of_place = nn.Linear(width, ATOMS + HYDROGENS + CHARGES)
        self.of_pair = nn.Linear(width // 2, BONDS)

    def forward(self, code: Tensor, prompt: Tensor | None = None) -> Tensor:
        """The logits of every code."""
        leading = code.shape[:-1]
        first, *rest = self.read
        read = first(code.flatten(0, -2))
        with torch.autocast(code.device.type, self.precision, enabled=self.precision != torch.float32):
            for layer in rest:
                read = layer(read)
            places = self.places(read).unflatten(-1, (self.size, -1)).float()
            pairs = self.pairs(read).unflatten(-1, (self.size * (self.size - 1) // 2, -1)).float()
            for layer in self.rounds:
                places, pairs = layer(places, pairs)
            of_place, of_pair = self.of_place(places), self.of_pair(pairs)
        kinds = of_place.to(code.dtype).split([ATOMS, HYDROGENS, CHARGES], -1)
        padded = [F.pad(logits, (0, CLASSES - logits.shape[-1]), value=-torch.inf) for logits in kinds]
        return torch.cat([*padded, of_pair.to(code.dtype)], -2).unflatten(0, leading)

    @torch.no_grad()
    def generate(self, code: Tensor) -> Tensor:
        """The likeliest codes: int64 [..., 3 N + N (N - 1) / 2], -1 where there is no atom to speak of."""
        codes = self(code).argmax(-1)
        return hidden(codes, self.size)


class PairLayer(nn.Module):
    """A round between places [B, N, width] and pairs [B, N (N - 1) / 2, width / 2]: each sees the other, residually."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        upper = torch.triu_indices(size, size, 1)
        ends = torch.zeros(size, upper.shape[1])
        ends[upper[0], torch.arange(upper.shape[1])] = ends[upper[1], torch.arange(upper.shape[1])] = 1
        self.register_buffer("ends", ends, persistent=False)  # [N, pairs]: which pairs a place is an end of
        self.place_norm, self.pair_norm = nn.LayerNorm(width), nn.LayerNorm(width // 2)
        self.to_pair = nn.Linear(width, width // 2)
        self.pair = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width // 2))
        self.place = nn.Sequential(nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def forward(self, places: Tensor, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The places and pairs after the round."""
        seen = self.ends.T @ self.to_pair(self.place_norm(places))
        pairs = pairs + self.pair(torch.cat([self.pair_norm(pairs), seen.to(pairs.dtype)], -1))
        heard = self.ends @ pairs / self.ends.shape[0] ** 0.5
        everything = places.mean(1, keepdim=True)[..., : places.shape[-1] // 2].expand(-1, places.shape[1], -1)
        places = places + self.place(torch.cat([self.place_norm(places), heard.to(places.dtype), everything], -1))
        return places, pairs


class GraphCategorical(nn.Module):
    """Independent codes of a graph from logits [..., B, C, 5]: log p(x|z) = Σ log p(code); -1 does not count.

    What is not said of a place without an atom follows from its atom's code, so this is a density over all graphs.
    """

    def forward(self, output: Tensor, observed: Tensor) -> Tensor:
        """Log-likelihood [..., B] in nats a graph; observed [B, C]."""
        observed = observed.expand(output.shape[:-1])
        loss = F.cross_entropy(output.flatten(0, -2), observed.flatten(), ignore_index=-1, reduction="none")
        return -loss.view(observed.shape).sum(-1)

    def mean(self, output: Tensor) -> Tensor:
        """Probabilities of the codes."""
        return output.softmax(-1)


def hidden(codes: Tensor, size: int) -> Tensor:
    """The codes [..., C] with -1 wherever a place without an atom, or a bond to one, would say something."""
    none = codes[..., :size] == 0
    upper = torch.triu_indices(size, size, 1, device=codes.device)
    bonds = codes[..., 3 * size :].masked_fill(none[..., upper[0]] | none[..., upper[1]], -1)
    rest = codes[..., size : 3 * size].masked_fill(torch.cat([none, none], -1), -1)
    return torch.cat([codes[..., :size], rest, bonds], -1)
