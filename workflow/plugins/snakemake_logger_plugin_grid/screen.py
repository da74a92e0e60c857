"""Text on a stream, and on a terminal a block of lines at its end that is erased and drawn anew."""

from __future__ import annotations

import os
from typing import TextIO

FALLBACK = os.terminal_size((80, 24))


class Screen:
    """Lines above, and a block below that never scrolls away: it has fewer lines than the terminal has rows."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lengths: list[int] = []

    @property
    def size(self) -> os.terminal_size:
        """Columns and rows of the stream's own terminal as it is now, whatever the other streams are."""
        try:
            size = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError, AttributeError):
            return FALLBACK
        return size if size.columns > 0 and size.lines > 0 else FALLBACK  # 0 x 0 where nobody has set it

    def write(self, text: str) -> None:
        """A line or several; what the stream's encoding does not have is escaped."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        self.stream.flush()

    def draw(self, lines: list[str]) -> None:
        """Put the block in place of the one before, every line cut to the width."""
        self.erase()
        width = max(1, self.size.columns - 1)
        cut = [line[:width] for line in lines]
        self.write("\n".join(cut))
        self.lengths = [len(line) for line in cut]

    def erase(self) -> None:
        """Take the block away. A terminal that became narrower since has wrapped its lines: that many rows more."""
        if self.lengths:
            columns = self.size.columns
            rows = sum(max(1, -(-length // columns)) for length in self.lengths)
            self.stream.write(f"\x1b[{rows}A\x1b[J")
            self.lengths = []
