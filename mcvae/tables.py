"""Tables of constants on a device: made once, free of the transform under which they are first asked for."""

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch
from numpy.typing import ArrayLike
from torch import Tensor


def tables(
    make: Callable[..., Sequence[ArrayLike]], arguments: tuple[Hashable, ...], device: torch.device
) -> tuple[Tensor, ...]:
    """``make(*arguments)`` as float64 tensors on ``device``, the same at every call; constants to torch.compile."""
    return _tables(make, arguments, device)


# What torch.compiler.assume_constant_result does, without its import of the compiler, which can't follow lru_cache.
tables._dynamo_marked_constant = True


@lru_cache(maxsize=1024)
def _tables(make: Callable[..., Sequence[ArrayLike]], arguments: tuple, device: torch.device) -> tuple[Tensor, ...]:
    # In a thread of its own no transform, inference mode or fake mode of the first caller can wrap what stays here.
    with ThreadPoolExecutor(1) as thread:
        return tuple(thread.map(lambda table: _constant(table, device), make(*arguments)))


def _constant(table: ArrayLike, device: torch.device) -> Tensor:
    tensor = torch.tensor(table, dtype=torch.float64, device=device)
    tensor._dynamo_static_indices = set(range(tensor.ndim))  # mark_static: with dynamic=True sizes would be guarded on
    return tensor
