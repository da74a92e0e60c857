"""How few labels a latent space needs: accuracy against the number of labelled records, a line a configuration."""

import re
from collections.abc import Sequence
from pathlib import Path

from . import style
from .configurations import curves, data_name, finished, over, panelled, read_runs, remarks, spread_said
from .folders import RunFolder

PANELS = {"knn": "kNN by geodesic distance", "probe": "Logistic probe of coordinates"}


def plot_label_budgets(
    run_folders: Sequence[str | Path],
    svg: str | Path,
    png: str | Path,
    *,
    note: str = "",
    title: str = "Accuracy against the number of labels",
) -> None:
    """Draw ``test.knn_accuracy@N`` and ``test.probe_accuracy@N`` of metrics.json against N.

    Each is the mean over the draws of the labelled records, which are the same for every run; bands are over seeds.

    Args:
        run_folders: folders with run.json and metrics.json of one experiment (all of one data set).
        svg, png: the files to write.
        note: what the data really are; printed small under the figure.
    """
    runs, missing = read_runs(run_folders)
    panels = {kind: name for kind, name in PANELS.items() if any(values(run, kind) for run in runs)}
    if not panels:
        sentence = "No finished run of this experiment was classified with several numbers of labels (label_budgets)."
        style.say(svg, png, title, sentence, note)
        return
    with style.look():
        drawn = [run for run in runs if any(values(run, kind) for kind in panels)]
        lines = curves(drawn)
        draws = {run.metrics.get("test.knn_draws") for run in drawn} - {None}
        said = f"mean over {draws.pop()} draws of the labels · " if len(draws) == 1 else ""
        subtitle = f"{data_name(drawn[0].dataset)}, test split · {said}{spread_said(drawn)}{remarks(runs, missing)}"
        figure, axes = panelled(lines, list(panels.values()), title, subtitle, note)
        for panel, kind in zip(axes, panels, strict=True):
            over(panel, lines, lambda run, kind=kind: values(run, kind))
            panel.set_xlabel("labelled training records")
            panel.set_ylabel("accuracy in %")
        style.save(figure, svg, png, title)


def values(run: RunFolder, kind: str) -> dict[float, float]:
    """The accuracy in percent of ``knn`` or ``probe`` at each number of labels; empty if the run did not finish."""
    if not finished(run):
        return {}
    found = {re.fullmatch(rf"test\.{kind}_accuracy@(\d+)", key): value for key, value in run.metrics.items()}
    return {int(match[1]): 100 * float(value) for match, value in found.items() if match and value is not None}
