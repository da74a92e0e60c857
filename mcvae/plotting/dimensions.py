"""What a latent space gains from more dimensions: log-likelihood and accuracy against d, a line a geometry."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import style
from .configurations import (
    LINES,
    Curve,
    data_name,
    judged,
    metric,
    over,
    panelled,
    qualifiers,
    read_runs,
    remarks,
    spread_said,
)
from .folders import RunFolder

ACCURACY = "test.knn_accuracy"


def plot_dimensions(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Against the dimension of the latent space",
) -> None:
    """Draw the log-likelihood (celeba: bits of the ELBO) and ``test.knn_accuracy`` against the dimension of spaces of
    one component.

    Args:
        run_folders: folders with run.json and metrics.json of one experiment (all of one data set).
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    runs = [run for run in runs if run.kind == "vae" and family(run) is not None]
    panels = {key: words for key, words in _panels(runs).items() if any(metric(run, key) is not None for run in runs)}
    if not panels:
        sentence = "No finished run of this experiment has a latent space of one component: nothing to compare over d."
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        lines = families(runs)
        subtitle = f"{data_name(runs[0].dataset)}, test split · {spread_said(runs)}{remarks(runs, missing)}"
        figure, axes = panelled(lines, [name for name, _ in panels.values()], title, subtitle, note)
        for panel, key in zip(axes, panels, strict=True):
            over(panel, lines, lambda run, key=key: _value(run, key))
            panel.set_xlabel("dimension d of the manifold")
            panel.set_ylabel(panels[key][1])
        style.save(figure, svg, png, title)


def family(run: RunFolder) -> str | None:
    """A space of one component without its dimension, as in ``s{d}:vmf``; None for products."""
    components = run.signature.components
    if len(components) != 1 or components[0].count != 1:
        return None
    component = components[0]
    options = str(replace(component, dim=1)).partition(":")
    return f"{component.letter}{{d}}{options[1]}{options[2]}"


def families(runs: Sequence[RunFolder]) -> list[Curve]:
    """One line a family of spaces and setting of the network, by geometry."""
    words = qualifiers([run.config for run in runs])
    groups: dict[str, list[RunFolder]] = {}
    for run in runs:
        groups.setdefault(str(family(run)) + words(run.config), []).append(run)
    by_geometry: dict[str, list[str]] = {}
    for name, members in groups.items():
        by_geometry.setdefault(style.geometry(members[0].latent), []).append(name)
    lines = []
    for geometry in (g for g in style.GEOMETRIES if g in by_geometry):
        names = by_geometry[geometry]
        shades = style.shades(style.GEOMETRIES[geometry], len(names))
        for index, (name, shade) in enumerate(zip(names, shades, strict=True)):
            lines.append(Curve(name, tuple(groups[name]), shade, LINES[index % len(LINES)]))
    return lines


def _panels(runs: Sequence[RunFolder]) -> dict[str, tuple[str, str]]:
    """Title and unit by metric."""
    if not runs:
        return {}
    column, name, axis = judged(runs[0].dataset)
    return {column.metric: (name, axis), ACCURACY: ("Accuracy of geodesic kNN", "accuracy in %")}


def _value(run: RunFolder, key: str) -> dict[float, float]:
    value = metric(run, key)
    return {} if value is None else {run.signature.dim: 100 * value if key == ACCURACY else value}
