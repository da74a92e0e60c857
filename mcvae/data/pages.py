"""Keeps what is read of large memory-mapped tensors from filling the memory: pages that were read are given back.

The file stays in the system's cache as long as there is room, so reading a page anew is cheap; but it no longer counts
as memory of this process, which may read any number of records within a bound.
"""

import mmap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

BOUND = 512 * 2**20  # bytes that may have become resident between two times of giving back
LEAST = 512 * 2**20  # smaller maps are left alone: all of them may be resident
FOLIO = 2 * 2**20  # bytes around a record that the system may make resident with it

# Maps by the address where they begin. A tensor keeps its array alive, and this keeps neither.
_maps: WeakValueDictionary[int, np.memmap] = WeakValueDictionary()


def watch(array: np.ndarray) -> np.ndarray:
    """Remember a large read-only or private map, whose pages may be given back; the array itself, and any other."""
    unwritten = isinstance(array, np.memmap) and array.mode in ("r", "c")
    if unwritten and array.nbytes >= LEAST and hasattr(mmap, "MADV_DONTNEED"):
        _maps[array.ctypes.data] = array
    return array


class Reader:
    """Counts the records read of some tensors, and gives all pages back whenever ``bound`` bytes may be resident.

    Tensors that are no memory maps, such as copies on a GPU, are left alone. Private changes of a map would be lost:
    nobody may write to the tensors of a data set.
    """

    def __init__(self, tensors: Iterable["Tensor"], bound: int = BOUND) -> None:
        self.bound, self.resident = bound, 0
        self._seen = [found for tensor in tensors for found in _containing(tensor)]

    def count(self, records: int) -> None:
        """So many were read, as copies."""
        self.resident += records * FOLIO * len(self._seen)
        if self.resident >= self.bound:
            self.give_back()

    def give_back(self) -> None:
        """All pages of the maps, now."""
        self.resident = 0
        for array in self._seen:
            array._mmap.madvise(mmap.MADV_DONTNEED)


def bounded(parts: Iterable["Tensor"], tensors: Iterable["Tensor"]) -> Iterator["Tensor"]:
    """The ``parts``, numbers of records, to be read of the tensors one after another, in a :class:`Reader`'s bound.

    What was read last is given back as well: many short readings would add up.
    """
    reader = Reader(tensors)
    for part in parts:
        yield part
        reader.count(len(part))
    reader.give_back()


def _containing(tensor: "Tensor") -> list[np.memmap]:
    """The map that a tensor on the CPU lies in."""
    if tensor.device.type != "cpu":
        return []
    start = tensor.untyped_storage().data_ptr()
    return [array for address, array in _maps.items() if address == start]
