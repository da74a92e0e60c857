"""Dense molecular graphs: how a batch is packed, what is read off its bonds, and the encoder that passes messages.

All of it is batched products of [B, N, N] matrices with N = 9 atoms: no sparse index, no loop over molecules.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ATOMS, HYDROGENS, CHARGES, BONDS = 5, 5, 3, 5  # codes of each kind; 0 is none (of charges: -1)
HEADER = 3  # columns of a packed graph before its bonds
FAR = 4  # bonds of the longest path that is told from all longer ones
WALKS = 9  # steps of the longest random walk whose return is looked at
TENSORS = ("atoms", "hydrogens", "charges", "bonds")  # what is packed of a prepared data set
_RELATIONS = BONDS - 1 + FAR - 1


def pack(batch: Mapping[str, Tensor]) -> Tensor:
    """The prepared tensors of molecular graphs as one: int64 [B, N, 3 + N].

    Columns: the atom's code, its hydrogens, its charge + 1, and its row of the matrix of bonds (codes of
    :mod:`mcvae.data.graphs`). Atoms are in the order of the canonical SMILES, so equal molecules have equal rows.
    """
    columns = torch.stack([batch["atoms"].long(), batch["hydrogens"].long(), batch["charges"].long() + 1], -1)
    return torch.cat([columns, batch["bonds"].long()], -1)


def codes(packed: Tensor) -> Tensor:
    """What a graph decoder has to say of packed graphs: int64 [B, 3 N + N (N - 1) / 2], -1 where nothing is to say.

    Atoms, hydrogens, charges + 1, then the bonds above the diagonal. Of places without an atom only that is said: their
    hydrogens, charges and bonds follow from it.
    """
    size = packed.shape[-2]
    none = packed[..., 0] == 0
    upper = torch.triu_indices(size, size, 1, device=packed.device)
    bonds = packed[..., HEADER:].masked_fill(none.unsqueeze(-1) | none.unsqueeze(-2), -1)[..., upper[0], upper[1]]
    rest = packed[..., 1:HEADER].masked_fill(none.unsqueeze(-1), -1).transpose(-1, -2).flatten(-2)
    return torch.cat([packed[..., 0], rest, bonds], -1)


def relations(bonds: Tensor) -> Tensor:
    """How atoms are related, 0 or 1 in the default dtype, [B, R, N, N]: bonds [B, N, N] by type, then by distance.

    The first four are the types of bonds; then the pairs at a distance of 2, of 3, and of 4 or more bonds.
    """
    dtype = torch.get_default_dtype()
    by_type = (bonds.unsqueeze(1) == torch.arange(1, BONDS, device=bonds.device).view(-1, 1, 1)).to(dtype)
    adjacent = by_type.sum(1)
    itself = torch.eye(bonds.shape[-1], dtype=dtype, device=bonds.device)
    within = (adjacent + itself).clamp(max=1)  # [B, N, N]: pairs at a distance of at most 1, then 2, ...
    rings = []
    for _ in range(2, FAR):
        further = (within @ (adjacent + itself)).clamp(max=1)
        rings.append(further - within)
        within = further
    real = (adjacent.sum(-1) > 0).to(dtype)
    rings.append((real.unsqueeze(-1) * real.unsqueeze(-2) - within).clamp(min=0))
    return torch.cat([by_type, torch.stack(rings, 1)], 1)


def return_probabilities(adjacent: Tensor) -> Tensor:
    """Of a random walk on the bonds, the probability to be back after 2, ..., 9 steps; [B, N, 8] of [B, N, N].

    What tells rings of different sizes apart, where messages between neighbours alone do not (Dwivedi et al. 2022,
    "Graph neural networks with learnable structural and positional representations", eq. 6).
    """
    step = adjacent / adjacent.sum(-1, keepdim=True).clamp(min=1)
    walk, found = step, []
    for _ in range(2, WALKS + 1):
        walk = walk @ step
        found.append(walk.diagonal(dim1=-2, dim2=-1))
    return torch.stack(found, -1)


class MessageLayer(nn.Module):
    """h + W₂ SiLU(W₁ [LN(h), Σ_j A_r V LN(h_j) for every relation r, mean_j V LN(h_j)]) for atoms h [B, N, width]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.value = nn.Linear(width, width // 2, bias=False)
        self.mix = nn.Linear(width + (_RELATIONS + 1) * (width // 2), 2 * width)
        self.out = nn.Linear(2 * width, width)

    def forward(self, atoms: Tensor, related: Tensor) -> Tensor:
        """``related`` [B, (R + 1) N, N]: the relations and the mean, row after row."""
        normal = self.norm(atoms)
        size = atoms.shape[-2]
        messages = (related @ self.value(normal)).unflatten(1, (-1, size)).transpose(1, 2).flatten(2)
        return atoms + self.out(F.silu(self.mix(torch.cat([normal, messages.to(normal.dtype)], -1))))


class GraphEncoder(nn.Module):
    """Packed graphs [B, N, 3 + N] -> [B, parameters]: messages along bonds and distances, and the matrix as it is.

    The sum over atoms does not depend on their order and is what properties need; the second path reads the matrix in
    canonical order, which is what a decoder of the canonical text needs. ``precision`` is that of the layers between;
    sums over atoms and what the latent space reads stay in the parameters' dtype.
    """

    def __init__(
        self,
        size: int,
        width: int,
        state: int,
        parameters: int,
        rounds: int = 4,
        precision: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.precision = precision
        self.kinds = nn.Linear(ATOMS + HYDROGENS + CHARGES + WALKS - 1, width)
        self.layers = nn.ModuleList(MessageLayer(width) for _ in range(rounds))
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, state), nn.SiLU())
        pairs = size * (size - 1) // 2
        self.matrix = nn.Sequential(nn.Linear(size * (ATOMS + HYDROGENS + CHARGES) + pairs * BONDS, state), nn.SiLU())
        self.join = nn.Sequential(nn.Linear(2 * state, state), nn.SiLU())
        self.head = nn.Linear(3 * state, parameters)
        upper = torch.triu_indices(size, size, 1)
        self.register_buffer("upper", upper[0] * size + upper[1], persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """The posterior's raw parameters."""
        bonds = features[..., HEADER:]
        kinds = self._kinds(features)
        real = (features[..., :1] > 0).to(kinds.dtype)
        related = relations(bonds)
        walks = return_probabilities(related[:, : BONDS - 1].sum(1))
        mean = real.transpose(1, 2) / real.sum(1, keepdim=True).clamp(min=1)
        related = torch.cat([related, mean.unsqueeze(1).expand(-1, 1, bonds.shape[-1], -1)], 1).flatten(1, 2)
        flat = [kinds.flatten(1), F.one_hot(bonds.flatten(1)[:, self.upper], BONDS).to(kinds.dtype).flatten(1)]
        with torch.autocast(features.device.type, self.precision, enabled=self.precision != torch.float32):
            atoms = self.kinds(torch.cat([kinds, walks], -1)).to(kinds.dtype)
            for layer in self.layers:
                atoms = layer(atoms, related)
            pooled = (self.read(atoms).to(kinds.dtype) * real).sum(1) / bonds.shape[-1]
            ordered = self.matrix(torch.cat(flat, -1)).to(kinds.dtype)
            joined = self.join(torch.cat([pooled, ordered], -1)).to(kinds.dtype)
        return self.head(torch.cat([pooled, ordered, joined], -1))

    @staticmethod
    def _kinds(features: Tensor) -> Tensor:
        codes = zip(features[..., :HEADER].unbind(-1), (ATOMS, HYDROGENS, CHARGES), strict=True)
        return torch.cat([F.one_hot(code, number) for code, number in codes], -1).to(torch.get_default_dtype())
