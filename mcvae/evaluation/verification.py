"""Whether two pictures show one person, told by the geodesic distance of their points in latent space.

Pairs of one person nearly always agree in sex, pairs of two every other time, so a latent that knows sex alone does
well; beside the number stands what that one attribute reaches, and the same number of impostors who agree in it.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ..training.ranking import auroc
from ..training.seeding import generator
from .ranking import equal_error_rate, weighted_auroc

PAIRS = 500_000  # of each kind, at most
CHUNK = 16_384  # pairs whose distances are computed at a time
RESAMPLES, AT_ONCE = 200, 4  # of the persons
VERIFICATION_KEYS = tuple(
    f"test.verification_{name}"
    for name in (
        *("auroc", "auroc_se", "eer", "auroc_matched", "auroc_matched_se"),
        *("auroc_pca", "eer_pca", "auroc_matched_pca", "auroc_male"),
        *("genuine", "impostors", "matched"),
    )
)


class Pairs(NamedTuple):
    """Records ``members`` int64 [P, 2], and ``truth`` 0/1 [P]: whether they are of one person."""

    members: Tensor
    truth: Tensor

    def only(self, kept: Tensor) -> "Pairs":
        """Those that are ``kept``, bool [P]."""
        return Pairs(self.members[kept], self.truth[kept])


def pairs(identities: Tensor, most: int = PAIRS) -> Pairs:
    """All pairs of records of one person, then all of two; of either ``most`` at random where there are more.

    The same for every run on the same data. None at all where nobody is shown twice, or nobody else.

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
    two = _impostors(identities.long(), len(one), most, noise)
    if not len(one) or not len(two):
        one = two = torch.zeros(0, 2, dtype=torch.int64)
    if len(one) > most:
        one = one[torch.randperm(len(one), generator=noise)[:most]]
    return Pairs(torch.cat([one, two]), torch.cat([torch.ones(len(one)), torch.zeros(len(two))]).long())


def _impostors(identities: Tensor, genuine: int, most: int, noise: torch.Generator) -> Tensor:
    """Pairs i < j of two persons, int64 [P, 2], each once."""
    n = len(identities)
    if n * (n - 1) // 2 - genuine <= most:
        every = torch.combinations(torch.arange(n)) if n > 1 else torch.zeros(0, 2, dtype=torch.int64)
        return every[identities[every[:, 0]] != identities[every[:, 1]]]
    codes = torch.zeros(0, dtype=torch.int64)
    while len(codes) < most:
        i, j = torch.randint(n, (2, most), generator=noise)
        other = (i < j) & (identities[i] != identities[j])
        codes = torch.cat([codes, (i * n + j)[other]]).unique()
    codes = codes[torch.randperm(len(codes), generator=noise)[:most]]
    return torch.stack([codes // n, codes % n], -1)


def verified(distances: Tensor, truth: Tensor) -> tuple[float | None, float | None]:
    """Area under the ROC curve and equal error rate of telling pairs of one person by a small distance [P]."""
    if not len(distances):
        return None, None
    return auroc(-distances.unsqueeze(-1), truth.unsqueeze(-1)).item(), equal_error_rate(-distances, truth)


def verified_error(distances: Tensor, chosen: Pairs, identities: Tensor) -> float | None:
    """The standard error of the area under the ROC curve over persons, each drawn with all that is shown of them.

    The bootstrap: a person drawn w times counts w times in pairs with themselves, and w·v times in pairs with one drawn
    v times. Pairs share pictures and persons, so they are no independent records.

    Args:
        distances: [P]. identities: [N].
    """
    if not len(distances):
        return None
    people, who = identities.unique(return_inverse=True)
    first, second = who[chosen.members].unbind(-1)
    noise, genuine = generator(0, "evaluation/verified persons"), chosen.truth > 0

    def weights() -> Iterator[Tensor]:
        for _ in range(0, RESAMPLES, AT_ONCE):
            drawn = torch.randint(len(people), (AT_ONCE, len(people)), generator=noise)
            counts = torch.zeros(AT_ONCE, len(people)).scatter_add_(1, drawn, torch.ones(drawn.shape))
            yield counts[:, first] * counts[:, second].masked_fill(genuine, 1)

    values = weighted_auroc(-distances, chosen.truth, weights())
    values = values[~values.isnan()]
    return values.std().item() if len(values) > 1 else None


@torch.inference_mode()
def verification_metrics(
    latent: torch.nn.Module, loc: Tensor, identities: Tensor, pixels: Tensor | None, male: Tensor | None
) -> dict[str, float | int | None]:
    """The numbers of :data:`VERIFICATION_KEYS`, of ``…_genuine`` pairs of one person and ``…_impostors`` of two.

    ``…_auroc``, ``…_eer`` by geodesic distance, ``…_pca`` by that of the pixels' components; ``…_matched`` with those
    impostors alone who agree in sex, ``test.verification_matched`` of them; ``…_male``: of guessing one person where
    two pictures agree in sex; ``…_se``: standard errors over persons (:func:`verified_error`). None without pairs.

    Args:
        loc: [N, ambient_dim], posterior locations. identities: [N]. pixels: [N, dim], principal components, or None.
        male: 0/1 [N], or None: then what is matched is None.
    """
    chosen = pairs(identities)
    genuine = chosen.truth > 0
    found: dict[str, float | int | None] = dict.fromkeys(VERIFICATION_KEYS)
    found["test.verification_genuine"] = int(genuine.sum())
    found["test.verification_impostors"] = int((~genuine).sum())
    if not len(genuine):
        return found
    spaces = {"": distances(latent.dist, loc, chosen.members)}
    if pixels is not None:
        spaces["_pca"] = distances(lambda x, y: (x - y).norm(dim=-1), pixels, chosen.members)
    for name, each in spaces.items():
        area, rate = verified(each, chosen.truth)
        found |= {f"test.verification_auroc{name}": area, f"test.verification_eer{name}": rate}
    found["test.verification_auroc_se"] = verified_error(spaces[""], chosen, identities)
    if male is None:
        return found
    agree = male[chosen.members[:, 0]] == male[chosen.members[:, 1]]
    matched = agree | genuine
    fair = chosen.only(matched)
    found["test.verification_auroc_male"] = verified((~agree).double(), chosen.truth)[0]
    found["test.verification_matched"] = int((~genuine & agree).sum())
    if found["test.verification_matched"]:
        for name, each in spaces.items():
            found[f"test.verification_auroc_matched{name}"] = verified(each[matched], fair.truth)[0]
        found["test.verification_auroc_matched_se"] = verified_error(spaces[""][matched], fair, identities)
    return found


def distances(distance: Callable[[Tensor, Tensor], Tensor], points: Tensor, members: Tensor) -> Tensor:
    """Distances of pairs [P, 2] of points [N, D]: float64 [P] on the CPU."""
    parts = members.to(points.device).split(CHUNK)
    return torch.cat([distance(*points[part].unbind(1)).double().cpu() for part in parts])
