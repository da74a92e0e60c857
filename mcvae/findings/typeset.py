"""Tables as text: CSV with full precision, Markdown, and LaTeX for the booktabs package."""

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
    """``frame`` is for machines; ``heading`` and ``rows`` are for people, the first ``texts`` columns being text.

    ``code``: the columns of signatures, set as code. ``sections``: tables that follow this one on its page; those
    without rows are in their CSV alone. ``aside``: of interest to few; the report keeps it folded.
    """

    name: str
    title: str
    caption: str
    frame: "pd.DataFrame" = field(repr=False)
    heading: tuple[str, ...]
    texts: int
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]
    code: tuple[int, ...] = (0,)
    sections: tuple["Table", ...] = ()
    aside: bool = False


def to_csv(table: Table) -> str:
    """The frame: floats by repr, null as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.frame.columns)
    for row in table.frame.to_dict("records"):
        writer.writerow([_exact(value) for value in row.values()])
    return text.getvalue()


def _exact(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(float(value))
    return str(value)


def to_markdown(table: Table) -> str:
    """Title, caption, table and notes; the columns are padded, so that the text reads as well as the page."""
    parts = [_page(table, "##"), *(_page(section, "###") for section in table.sections if section.rows)]
    return "\n".join(parts)


def _page(table: Table, level: str) -> str:
    rows = [[_markdown(text) for text in table.heading]]
    rows += [[_markdown_cell(text, i in table.code) for i, text in enumerate(row)] for row in table.rows]
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
            f"{level} {_markdown(table.title)}",
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


def _markdown_cell(text: str, code: bool) -> str:
    return f"`{text}`" if code and text else _markdown(text)


def _markdown(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)


def to_tex(table: Table) -> str:
    r"""A ``table`` environment with a ``tabular`` for booktabs; ``\input`` it, and refer to ``tab:{name}``.

    Sections follow as tables of their own, ``tab:{name}-{section}``.
    """
    parts = [_environment(table, table.name)]
    parts += [_environment(section, f"{table.name}-{section.name}") for section in table.sections if section.rows]
    return "\n".join([r"% needs \usepackage{booktabs}", *parts])


def _environment(table: Table, label: str) -> str:
    align = "".join("l" if i < table.texts else "r" for i in range(len(table.heading)))
    heading = " & ".join(map(_tex, table.heading))
    body = [" & ".join(_tex_cell(text, i in table.code) for i, text in enumerate(row)) + r" \\" for row in table.rows]
    notes = [rf"  \item {_tex(note)}" for note in table.notes]
    listed = [r"\begin{itemize}", r"  \footnotesize", *notes, r"\end{itemize}"] if notes else []
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.title)}. {_tex(table.caption)}.}}",
            rf"\label{{tab:{label}}}",
            rf"\begin{{tabular}}{{{align}}}",
            r"\toprule",
            rf"{heading} \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            *listed,
            r"\end{table}",
            "",
        ]
    )


_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "[": r"{[}",  # a row that begins with a bracket would be an option of the \\ before it
    "]": r"{]}",
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
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "²": r"$^2$",
    "³": r"$^3$",
    "₀": r"$_0$",
    "√": r"$\surd$",
    "≥": r"$\geq$",
}
_NUMBER = r"[-+]?\d+(\.\d+)?†?"
_NUMBERS = re.compile(rf"{_NUMBER}( ± {_NUMBER})?|\[{_NUMBER}, {_NUMBER}\]")


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _tex_cell(text: str, code: bool) -> str:
    """Numbers are set in mathematics, so that a minus is one and not a hyphen."""
    if code:
        return rf"\texttt{{{_tex(text)}}}" if text else ""
    if _NUMBERS.fullmatch(text):
        return f"${text.replace('±', chr(92) + 'pm').replace('†', '^{' + chr(92) + 'dagger}')}$"
    return _tex(text)
