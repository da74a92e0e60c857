"""Whether runs followed a published protocol: what its preset says, and in words what they did otherwise.

A run of another kind (another decoder input, density or prior) stands beside no figure of the source; one that was
trained or scored otherwise does, but no number of sigmas is given for it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ..options import Evaluation, Model, Training
from ..presets import PRESETS
from ..signature import parse
from . import statistics
from .statistics import RunRecord, winds

# Whose settings are known, by the preset that has them.
PRESET_OF = {
    "davidson2018-table1": "davidson2018",
    "davidson2018-table2": "davidson2018",
    "skopek2020-repository-log": "skopek2020",
    "mathieu2019": "mathieu2019",
    "nagano2019": "nagano2019",
}
UNKNOWN = "settings not known"
WORDS = {
    "batch_size": "batch",
    "learning_rate": "learning rate",
    "schedule": "schedule",
    "kl_warmup": "warm-up",
    "patience": "patience",
    "gradient_clip": "gradient clip",
    "curvature_learning_rate": "learning rate of curvatures",
    "curvature_start": "first epochs without curvatures",
}
WEIGHTS = {"validation": "best weights of the validation split", "last": "last weights"}


def has_settings(source: str, config: Mapping[str, Any]) -> bool:
    """Whether a run's decoder input, density on spheres and prior scale are the source's, where they matter.

    A prior scale that is learned is nobody's; the others of a source without a preset are not known.
    """
    if config["model"].get("prior_scale", "fixed") != "fixed":
        return False
    if source not in PRESET_OF:
        return True
    theirs = PRESETS[PRESET_OF[source]].get("model", {})
    return _kind(config["model"], config["latent"]) == _kind(theirs, config["latent"])


def _kind(model: Mapping[str, Any], latent: str) -> tuple:
    """What a decoder sees of each component, and whether wrapped normals on spheres leave out their windings."""
    components, chosen = parse(latent).components, model.get("decoder_input", "default")
    inputs = []
    for component in components:
        seen = chosen if chosen != "default" else "ambient" if component.letter == "s" else "tangent"
        inputs.append("ambient" if component.letter == "e" and seen == "tangent" else seen)  # one and the same
    return inputs, bool(model.get("principal", False)) and any(map(winds, components))


def differing(source: str, hidden: str | None, metric: str, members: Sequence[RunRecord]) -> tuple[str, ...]:
    """What the runs of a row did otherwise than a source, in words: ``60 of 500 epochs``, ``batch 128, not 64``.

    Of the network, the training, and how ``metric`` was scored (which nothing is said of without a finished run).
    ``hidden``: the hidden layers, if the source's figure names them itself. A source without a preset has settings that
    are not known: :data:`UNKNOWN`.
    """
    if source not in PRESET_OF:
        return (UNKNOWN,)
    preset, config = PRESETS[PRESET_OF[source]], members[0]["config"]
    return (
        *_network(preset, hidden, config),
        *_training(preset, config),
        *(_scoring(preset, metric, members) if any(record["status"] == "finished" for record in members) else ()),
    )


def _network(preset: Mapping[str, Any], hidden: str | None, config: Mapping[str, Any]) -> list[str]:
    theirs = [hidden] if hidden else ["x".join(map(str, layers)) for layers in preset["hidden"]]
    ours = statistics.hidden(statistics.flatten(config))
    found = [] if ours in theirs else [f"hidden layers {ours}, not {' or '.join(theirs)}"]
    families = {component.family for component in parse(config["latent"]).components}
    for key in ("activation", *(("concentration",) if families & {"vmf", "ps"} else ())):
        default = Model.model_fields[key].default
        ours, wanted = config["model"].get(key, default), preset.get("model", {}).get(key, default)
        found += [] if ours == wanted else [f"{key} {ours}, not {wanted}"]
    return found


def _training(preset: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    theirs = Training(**preset["training"]).model_dump()
    ours = Training().model_dump() | config["training"]  # what a configuration leaves out has its default
    found = [] if ours["epochs"] == theirs["epochs"] else [_count(ours["epochs"], theirs["epochs"], "epochs")]
    learned = any(component.learn for component in parse(config["latent"]).components)
    for key, words in WORDS.items():
        if ours[key] != theirs[key] and (learned or not key.startswith("curvature")):
            found.append(f"{words} {_said(ours[key])}, not {_said(theirs[key])}")
    if ours["selection"] != theirs["selection"]:
        found.append(f"{WEIGHTS[ours['selection']]}, not {WEIGHTS[theirs['selection']]}")
    if ours["records"] != theirs["records"]:
        found.append(f"trained on {_records(ours['records'])}, not {_records(theirs['records'])}")
    return found


def _scoring(preset: Mapping[str, Any], metric: str, members: Sequence[RunRecord]) -> list[str]:
    theirs = Evaluation(**preset["evaluation"])
    wanted: list[tuple[str, float | None, str]] = []
    if metric == "test.ll":
        every = max(statistics.values(members, "test.n"), default=None)
        wanted.append(("test.importance_samples", theirs.importance_samples, "importance samples"))
        wanted.append(("test.ll_n", every, "test records"))
    elif metric.startswith("test.knn_accuracy@"):
        wanted.append(("test.knn_neighbours", theirs.knn_neighbours, "neighbours"))
        wanted.append(("test.knn_draws", theirs.label_draws, "draws of labels"))
    found = []
    for key, number, words in wanted:
        numbers = set(statistics.values(members, key))
        if not numbers or number is None:
            found.append(f"unknown number of {words}")
        found += [_count(each, number, words) for each in sorted(numbers) if number is not None and each != number]
    return found


def _count(ours: float, theirs: float, words: str) -> str:
    return f"{ours:,.0f} of {theirs:,.0f} {words}" if ours < theirs else f"{ours:,.0f} {words}, not {theirs:,.0f}"


def _said(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _records(value: Any) -> str:
    if value is None:
        return "the training split"
    return "all images" if value == "all" else f"{value:,} images"
