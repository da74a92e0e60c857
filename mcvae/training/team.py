"""The processes that train one run together, a share of every batch each, and what they say to each other.

A process alone is a team of one, to which all of this is nothing: the loop knows no other difference. All processes
make the same calls in the same order; parameters, optimiser and decisions are the same bits in each of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .seeding import stream_state


class Lost(Exception):
    """Another process of the team no longer answers."""


class Team:
    """A process alone."""

    rank, size = 0, 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the files and the log."""
        return self.rank == 0

    def share(self, records: Tensor) -> Tensor:
        """The part of the records [B, ...] that is this process's."""
        return records

    def purpose(self, name: str) -> str:
        """The name of this process's own stream of random numbers."""
        return name

    def average(self, parameters: Sequence[nn.Parameter], share: int, whole: int) -> None:
        """Gradients of means over this process's ``share`` records become those of means over the ``whole`` batch."""

    def mean(self, values: Tensor | None) -> float | None:
        """The mean over the records [B] of all processes; None if nobody has any."""
        return None if values is None else values.mean().item()

    def agreed(self, decision: bool) -> bool:
        """The leader's decision."""
        return decision

    def streams(self, device: torch.device) -> dict[str, Tensor]:
        """The states of all processes' default streams, by name."""
        return stream_state(device)

    def own_streams(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of what :meth:`streams` gave, this process's."""
        return dict(states)


ALONE = Team()


class Group(Team):
    """One of ``size`` processes that have joined torch's default process group."""

    def __init__(self, rank: int, size: int) -> None:
        self.rank, self.size = rank, size
        self._trained: list[bool] | None = None

    def share(self, records: Tensor) -> Tensor:
        return records.tensor_split(self.size)[self.rank]

    def purpose(self, name: str) -> str:
        return f"{name}/{self.rank}" if self.rank else name

    @torch.no_grad()
    def average(self, parameters: Sequence[nn.Parameter], share: int, whole: int) -> None:
        r"""The gradient of a batch's mean is \sum_r (share_r / whole) g_r, with g_r that of the mean over share r."""
        if self._trained is None:  # in the first batch of all, which is a full one, nobody's share is empty
            self._trained = [parameter.grad is not None for parameter in parameters]
        groups: dict[torch.dtype, list[nn.Parameter]] = {}
        for parameter, trained in zip(parameters, self._trained, strict=True):
            if trained:
                groups.setdefault(parameter.dtype, []).append(parameter)
        for group in groups.values():
            flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in group])
            self._sum(flat.mul_(share / whole))
            for parameter, gradient in zip(group, flat.split([p.numel() for p in group]), strict=True):
                parameter.grad = gradient.view_as(parameter)

    def mean(self, values: Tensor | None) -> float | None:
        total, count = (0.0, 0) if values is None else (values.double().sum().item(), len(values))
        both = torch.tensor([total, count], dtype=torch.float64)
        self._sum(both)
        total, count = both.tolist()
        return total / count if count else None

    def agreed(self, decision: bool) -> bool:
        chosen = torch.tensor([decision], dtype=torch.uint8)
        with _answered():
            torch.distributed.broadcast(chosen, 0)
        return bool(chosen.item())

    def streams(self, device: torch.device) -> dict[str, Tensor]:
        found = {}
        for name, state in stream_state(device).items():
            states = [torch.empty_like(state) for _ in range(self.size)]
            with _answered():
                torch.distributed.all_gather(states, state)
            found |= {f"{rank}.{name}" if rank else name: each for rank, each in enumerate(states)}
        return found

    def own_streams(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        prefix = f"{self.rank}." if self.rank else ""
        return {name: states[f"{prefix}{name}"] for name in states if "." not in name}

    @staticmethod
    def _sum(values: Tensor) -> None:
        with _answered():
            torch.distributed.all_reduce(values)


@contextmanager
def _answered() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo's and NCCL's, of a process that died or kept silent
        raise Lost(str(error).partition("\n")[0]) from error
