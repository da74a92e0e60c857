"""Which kinds of figures can be drawn of a run and of an experiment, from their configurations alone: no torch.

Their names are those of the files: ``{kind}.svg`` of an experiment, ``{run}.{kind}.svg`` and ``{run}.{page}.html``.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace

from .config import Experiment, RunConfig
from .datasets import DATASETS
from .signature import DEFAULT_CURVATURE, Component, Signature, is_flat

CURVATURES_OF_A_GRID = 3  # fixed ones of one space, for a figure over them


def surfaces(signature: Signature) -> list[Component]:
    """The components of two dimensions, each with its count."""
    return [component for component in signature.components if component.dim == 2]


def curved_surfaces(signature: Signature) -> list[Component]:
    """The components of two dimensions that are, or may become, curved."""
    return [component for component in surfaces(signature) if component.letter != "e"]


def figures_of_run(config: RunConfig) -> tuple[str, ...]:
    """The kinds of figures that can be drawn of a run."""
    facts, kinds = DATASETS[config.dataset], ["latent"]
    if config.model.kind == "vae" and surfaces(config.signature):
        kinds += ["atlas", "density"]
    if facts.control:
        return tuple(kinds)
    kinds.append("reconstructions")
    if config.model.kind == "vae":
        kinds.append("samples")
    if _of_images(config):
        kinds += ["interpolations"] + ["traversals"] * (config.model.kind == "vae")
    if facts.attributes:
        kinds.append("attribute_directions")
    if config.dataset == "qm9":
        kinds += ["properties", "molecule_paths", "optimised"]
    if config.signature.dim == 2 and _of_images(config):
        kinds.append("decoder_grid")
    return tuple(kinds)


def pages_of_run(config: RunConfig) -> tuple[str, ...]:
    """The kinds of interactive pages that can be made of a run."""
    return ("globe",) if curved_surfaces(config.signature) else ()


def compared(configs: Sequence[RunConfig]) -> list[int]:
    """The places of the autoencoders of images and of the VAEs beside them: of one dimension and one network.

    Of several dimensions the smallest, of several networks the first; empty where one of the two kinds is missing.
    """
    equals: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for place, config in enumerate(configs):
        if _of_images(config):
            equals.setdefault((config.signature.dim, config.model.hidden), []).append(place)
    both = [(dim, found) for (dim, _), found in equals.items() if len({configs[i].model.kind for i in found}) > 1]
    return min(both, key=lambda pair: pair[0])[1] if both else []


def _of_images(config: RunConfig) -> bool:
    return config.dataset != "qm9" and not DATASETS[config.dataset].control


def figures_of_experiment(
    spec: Experiment, configs: Sequence[RunConfig], references: Collection[str]
) -> tuple[str, ...]:
    """The kinds of figures that can be drawn of an experiment as a whole.

    ``references``: the latents that others of equal dimension are compared with; empty: the Euclidean spaces.
    """
    latents = [config.signature for config in configs if config.model.kind == "vae"]
    kinds = ["curves", *["comparison"] * bool(compared(configs))]
    fixed: dict[str, set[float]] = {}
    for component in (x.components[0] for x in latents if len(x.components) == 1 and not x.components[0].learn):
        shape = str(replace(component, k=DEFAULT_CURVATURE[component.letter]))
        fixed.setdefault(shape, set()).add(component.k)
    if any(len(curvatures) >= CURVATURES_OF_A_GRID for curvatures in fixed.values()):
        kinds.append("curvature_grid")
    if any(component.learn for x in latents for component in x.components):
        kinds.append("curvature_trajectories")
    if spec.evaluation.likelihood_curve and latents:
        kinds.append("likelihood_curve")
    single: dict[str, set[int]] = {}
    for component in (x.components[0] for x in latents if len(x.components) == 1 and x.components[0].count == 1):
        single.setdefault(str(replace(component, dim=1)), set()).add(component.dim)
    if any(len(dims) > 1 for dims in single.values()):
        kinds.append("dimensions")
    if len(spec.evaluation.label_budgets) > 1:
        kinds.append("label_budgets")
    if any(sum(component.count for component in x.components) > 1 for x in latents):
        kinds.append("component_kl")
    if len(set(latents)) > 2 or len(spec.hidden) > 1:
        kinds.append("pareto")
    against = {x for x in latents if (str(x) in references if references else is_flat(x))}
    if {x.dim for x in against} & {x.dim for x in latents if x not in against}:
        kinds.append("differences")
    return tuple(kinds)
