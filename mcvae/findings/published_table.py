"""The table of published figures beside ours: see :mod:`mcvae.findings.published` for what is matched."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..datasets import DATASETS
from . import published, settings
from .columns import Column
from .context import Context, cell, frame_of, signed
from .published import MARK, Figure, Match
from .typeset import Table

FIRST = ["source", "dataset", "latent"]
NAMES = (
    "protocol dim metric unit key ours ours_sd ours_sd_draws seeds published published_std published_runs difference "
    "sigmas differs status std_recalled note"
).split()


def published_table(context: Context) -> Table:
    """The named published figures, with our rows of the same latent: see :mod:`mcvae.findings.published`."""
    comparable = [] if context.data.label else context.records
    matches = published.beside(context.figures, comparable)
    rows = [_row(match, context) for match in matches]
    several = [name for name in context.several if name != "latent"]
    sources = list(dict.fromkeys(figure.source for figure in context.figures))
    protocols = len({figure.protocol for figure in context.figures}) > 1
    heading = ["latent", *several, *(["protocol"] if protocols else []), "metric"]
    texts = len(heading)
    heading += ["ours", "seeds", "published", "runs", "difference", "sigmas"]
    apart = any(match.differs for match in matches)
    heading += ["differs"] if apart else []
    people = []
    for match in matches:
        figure = match.figure
        words = [figure.latent, *(_row_word(match, name, context) for name in several)]
        words += [figure.protocol] if protocols else []
        last = ["; ".join(match.differs)] if apart else []
        last += [figure.source] if len(sources) > 1 else []
        people.append((*words, _title(figure), *_cells(match), *last))
    return Table(
        name="published",
        title="Published results",
        caption="Ours (mean ± standard deviation over seeds) beside the published",
        frame=frame_of(rows, [*FIRST, *context.keys()[1:], *NAMES]),
        heading=(*heading, *(["source"] if len(sources) > 1 else [])),
        texts=texts,
        rows=tuple(people),
        notes=tuple(_notes(matches, sources, context)),
    )


def _row(match: Match, context: Context) -> dict[str, Any]:
    figure, meaning = match.figure, match.figure.quantity
    ours = context.identity(match.row) if match.row else dict.fromkeys(context.keys(), "")
    return ours | {
        "source": figure.source,
        "dataset": figure.dataset,
        "latent": figure.latent,
        "hidden": ours["hidden"] or figure.hidden or "",
        "protocol": figure.protocol,
        "dim": figure.dim,
        "metric": figure.metric,
        "unit": meaning.unit,
        "key": f"{meaning.key} - {meaning.less}" if meaning.less else meaning.key,
        "ours": match.ours,
        "ours_sd": match.sd,
        "ours_sd_draws": match.draws,
        "seeds": match.seeds,
        "published": figure.value,
        "published_std": figure.std,
        "published_runs": figure.runs,
        "difference": match.difference,
        "sigmas": match.sigmas,
        "differs": "; ".join(match.differs),
        "status": figure.status,
        "std_recalled": "yes" if figure.sd_recalled else "no",
        "note": figure.note,
    }


def _row_word(match: Match, name: str, context: Context) -> str:
    if match.row is None:
        return (match.figure.hidden or "") if name == "hidden" else ""
    return context.words(match.row)[list(context.several).index(name)]


def _title(figure: Figure) -> str:
    meaning = figure.quantity
    return f"{meaning.heading} [{meaning.unit}]" if meaning.unit else meaning.heading


def _cells(match: Match) -> list[str]:
    figure, column = match.figure, Column("", "", decimals=1 if match.figure.quantity.unit == "%" else 2)
    theirs = f"{figure.value!r}{MARK * figure.recalled}"
    theirs += "" if figure.std is None else f" ± {figure.std!r}{MARK * figure.sd_recalled}"
    doubt = MARK * (figure.recalled or figure.sd_recalled)
    sigmas = "" if match.sigmas is None else signed(match.sigmas, replace(column, decimals=1)) + doubt
    runs = "" if figure.runs is None else str(figure.runs)
    seeds = str(match.seeds) if match.row else ""
    difference = signed(match.difference, column) + (MARK * figure.recalled if match.row else "")
    return [cell(match.ours, match.sd, column), seeds, theirs, runs, difference, sigmas]


def _notes(matches: Sequence[Match], sources: Sequence[str], context: Context) -> list[str]:
    found = [match.figure for match in matches]
    notes = [f"{source}: {published.CITATIONS[source]}." for source in sources]
    notes.append(
        "Difference: ours - published. Sigmas: difference / sqrt(sd² + published sd²), with standard deviations over "
        "our seeds and their runs, not of the means; empty where either is unknown, and of runs that differ."
    )
    if any(match.differs for match in matches):
        notes.append(
            "Differs: what our runs did otherwise than the source, as far as its settings are known; such a row is no "
            f"reproduction. '{settings.UNKNOWN}': they were not compared."
        )
    if any(figure.quantity.less for figure in found):
        notes.append(
            "LL - ELBO: what importance sampling adds to the bound. It grows with the number of samples, towards the "
            "mean of KL(q(z|x), p(z|x)): LL compares only at equal numbers. Of a source the difference of its two "
            "means; of ours only where LL is of all test records."
        )
    if any(published.of_draws(figure) for figure in found):
        notes.append(
            "kNN@n: their standard deviations are of single draws of the labelled records, ours of means over them. So "
            "the sd in the sigmas is sqrt(variance over seeds + mean over seeds of the variance over draws) there; the "
            "root of the second is ours_sd_draws in the CSV."
        )
    if any(figure.recalled or figure.sd_recalled for figure in found):
        notes.append(f"{MARK}: quoted from memory and not read again; nothing is reproduced or failed by it alone.")
    if any(figure.std is not None and figure.sd is None for figure in found):
        notes.append("± of a source that gives 95% confidence intervals is no standard deviation: no sigmas there.")
    if context.data.label:
        name = DATASETS[context.data.dataset].name
        notes.append(f"These runs are not of the official {name} ({context.data.note}): none stands beside a figure.")
    elif any(match.row is None for match in matches):
        notes.append(
            "Without ours: this experiment has no finished run of that latent, protocol, kind and hidden layers."
        )
    return notes + _left_out(context) + _protocol_notes(found, context)


def _left_out(context: Context) -> list[str]:
    """The rows that would stand beside a figure, if their settings were those of its source."""
    notes = []
    apart = {} if context.data.label else published.otherwise(context.figures, context.records)
    for source, rows in apart.items():
        names = dict.fromkeys(" ".join(context.words(row)) for row in rows)
        notes.append(
            f"Not beside {source}: {', '.join(names)}, of another decoder input, density on spheres (principal) or "
            "prior scale than the source's."
        )
    return notes


def _protocol_notes(found: Sequence[Figure], context: Context) -> list[str]:
    own = context.records[0]["config"]["protocol"]
    others = {f.protocol for f in found if published.PROTOCOLS.get(f.protocol) not in (None, own)}
    notes = [f"Figures of the protocol '{text}' do not compare with these runs ({own})." for text in sorted(others)]
    if any(figure.protocol == "unspecified" for figure in found):
        notes.append("Protocol 'unspecified': the source does not say how it treats pixels; the comparison is loose.")
    return notes
