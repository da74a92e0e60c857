"""A table as text: CSV with full precision, Markdown, and LaTeX for the booktabs package."""

import csv
import io
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """``frame`` is for machines; ``heading`` and ``rows`` are for people, the first ``texts`` columns being text."""

    name: str
    title: str
    caption: str
    frame: "pd.DataFrame" = field(repr=False)
    heading: tuple[str, ...]
    texts: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def to_csv(table: Table) -> str:
    """The frame: floats by repr, null as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.frame.columns)
    for row in table.frame.to_dict("records"):
        writer.writerow([_exact(value) for value in row.values()])
    return text.getvalue()


def _exact(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return str(value)


def to_markdown(table: Table) -> str:
    """Title, table, caption and notes; the columns are padded, so that the text reads as well as the page."""
    rows = [[_markdown(text) for text in table.heading]]
    rows += [[f"`{row[0]}`", *map(_markdown, row[1:])] for row in table.rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(table.heading))]
    left = [i < table.texts for i in range(len(widths))]
    lines = [
        "| " + " | ".join(t.ljust(w) if a else t.rjust(w) for t, w, a in zip(row, widths, left, strict=True)) + " |"
        for row in rows
    ]
    rule = (
        "|"
        + "|".join(":" + "-" * (w + 1) if a else "-" * (w + 1) + ":" for w, a in zip(widths, left, strict=True))
        + "|"
    )
    notes = [f"- {_markdown(note)}" for note in table.notes]
    return "\n".join(
        [
            f"## {_markdown(table.title)}",
            "",
            f"{_markdown(table.caption)}.",
            "",
            lines[0],
            rule,
            *lines[1:],
            "",
            *notes,
            "",
        ]
    )


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def to_tex(table: Table) -> str:
    r"""A ``table`` environment with a ``tabular`` for booktabs; ``\input`` it, and refer to ``tab:{name}``."""
    align = "".join("l" if i < table.texts else "r" for i in range(len(table.heading)))
    heading = " & ".join(map(_tex, table.heading))
    body = [" & ".join([rf"\texttt{{{_tex(row[0])}}}", *map(_tex_cell, row[1:])]) + r" \\" for row in table.rows]
    notes = [rf"  \item {_tex(note)}" for note in table.notes]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}. {_tex(table.caption)}.}}",
            rf"\label{{tab:{table.name}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            rf"{heading} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\begin{itemize}",
            r"  \footnotesize",
            *notes,
            r"\end{itemize}",
            r"\end{table}",
            "",
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "·": r"$\cdot$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _tex_cell(text: str) -> str:
    """Numbers are set in mathematics, so that a minus is one and not a hyphen."""
    if re.fullmatch(r"-?[\d.]+( ± [\d.]+)?", text):
        return f"${text.replace('±', chr(92) + 'pm')}$"
    return _tex(text)
