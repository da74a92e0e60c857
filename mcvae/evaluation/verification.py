"""Whether two pictures show one person, told by the geodesic distance of their points in latent space.

Pairs are drawn once and for all: the same for every run on the same data.
"""

import torch
from torch import Tensor

from ..training.seeding import generator
from .ranking import auroc, equal_error_rate

PAIRS = 5000  # of each kind, at most
VERIFICATION_KEYS = tuple(f"test.verification_{name}" for name in ("auroc", "eer", "auroc_pca", "eer_pca", "pairs"))


def pairs(identities: Tensor, most: int = PAIRS) -> tuple[Tensor, Tensor]:
    """Pairs of records of one person and as many of two, int64 [2 P, 2], and which are which, 0/1 [2 P].

    Of one: all that there are, or ``most`` of them at random. Of two: drawn at random, none twice as the same draw.
    P is 0 where nobody is shown twice, or nobody else.

    Args:
        identities: integers [N].
    """
    noise = generator(0, "evaluation/verification")
    order = identities.long().argsort(stable=True)
    people = identities.long()[order]
    same = []
    for step in range(1, len(people)):
        found = (people[step:] == people[:-step]).nonzero().squeeze(-1)
        if not len(found):
            break  # sorted: who is not shown step + 1 times is not shown more often
        same.append(torch.stack([order[found], order[found + step]], -1))
    one = torch.cat(same) if same else torch.zeros(0, 2, dtype=torch.int64)
    one = one[torch.randperm(len(one), generator=noise)[:most]]
    two = torch.zeros(0, 2, dtype=torch.int64)
    while len(people) and people[0] != people[-1] and len(two) < len(one):
        drawn = torch.randint(len(people), (2 * len(one), 2), generator=noise)
        two = torch.cat([two, drawn[identities[drawn[:, 0]] != identities[drawn[:, 1]]]])
    one = one[: len(two)]
    two = two[: len(one)]
    return torch.cat([one, two]), torch.cat([torch.ones(len(one)), torch.zeros(len(two))]).long()


def verified(distances: Tensor, truth: Tensor) -> tuple[float | None, float | None]:
    """Area under the ROC curve and equal error rate of telling pairs of one person by a small distance [2 P]."""
    if not len(distances):
        return None, None
    return auroc(-distances.unsqueeze(-1), truth.unsqueeze(-1)).item(), equal_error_rate(-distances, truth)


@torch.inference_mode()
def verification_metrics(
    latent: torch.nn.Module, loc: Tensor, identities: Tensor, pixels: Tensor | None
) -> dict[str, float | int | None]:
    """``test.verification_auroc`` and ``…_eer`` by geodesic distance, and ``…_pca`` by that of the pixels' components.

    Args:
        loc: [N, ambient_dim], posterior locations. identities: [N]. pixels: [N, dim], principal components, or None.
    """
    members, truth = pairs(identities)
    first, second = members.to(loc.device).unbind(-1)
    values = verified(latent.dist(loc[first], loc[second]).double().cpu(), truth)
    other = (None, None)
    if pixels is not None:
        other = verified((pixels[members[:, 0]] - pixels[members[:, 1]]).norm(dim=-1).double(), truth)
    return dict(zip(VERIFICATION_KEYS, (*values, *other, len(truth)), strict=True))
