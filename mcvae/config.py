"""A study as validated, frozen data: what a config file may say, and the one canonical form of a run.

A study is a mapping of experiments; an experiment is a grid over latents, dimensions ``d``, curvatures ``k``, hidden
layers, kinds of model and seeds. The YAML schema in ``workflow/schemas`` is generated from these classes and those of
``options`` (``mcvae schema``). No torch here: Snakemake parses with this module.

**Canonical form.** A run is named by its canonical configuration. All fields are written out, so a later change of a
default never renames an old run. A field that is *added* later declares ``neutral``: the value that stands for the old
behaviour and is left out, so that old runs keep their names too.
"""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from .datasets import DATASETS, Dataset, Protocol
from .errors import UserError
from .options import MOLECULAR, Data, Evaluation, Frozen, Kind, Model, Search, Training, Width
from .presets import PRESETS, with_preset
from .signature import Signature, parse
from .yaml_file import read_config

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
WORDS = {  # what pydantic says in its own terms
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_pattern_mismatch": "must be lower-case letters, digits and hyphens, at most 64 of them",
}


class RunConfig(Frozen):
    """One run: everything that its numbers depend on, and nothing else."""

    dataset: Dataset
    data: str = Field(pattern=r"^[0-9a-f]{8}$", description="Hash of the prepared data.")
    protocol: Protocol
    latent: str
    model: Model
    training: Training
    seed: int = Field(ge=0, lt=2**31)

    @property
    def signature(self) -> Signature:
        """The parsed latent space."""
        return parse(self.latent)

    def canonical(self) -> dict[str, Any]:
        """The JSON value that names the run: see the module's docstring."""
        return _canonical(self)

    @classmethod
    def from_canonical(cls, value: Any, origin: str = "run.json") -> "RunConfig":
        """The inverse of :meth:`canonical`; a key that is not there has its neutral value, whatever the default.

        Raises:
            UserError: one sentence that names ``origin`` and the key.
        """
        try:
            return cls.model_validate(_with_neutral(cls, value))
        except ValidationError as error:
            raise UserError(f"{origin}: {_sentence(error.errors()[0], len(error.errors()) - 1, cls)}") from None


class Experiment(Frozen):
    """A grid of runs on one data set, with one table and a set of figures."""

    title: str = Field("", description="Heading in the report.")
    description: str = Field("", description="What is asked, in a sentence or two, for the report.")
    preset: str | None = Field(
        None, description=f"A published study whose protocol holds where nothing else is said: {', '.join(PRESETS)}."
    )
    published: tuple[str, ...] = Field(
        (), description="Published results that the table sets beside these runs, such as 'davidson2018-table1'."
    )
    dataset: Dataset
    protocol: Protocol | None = Field(
        None,
        description="Treatment of the pixels; mnist: dynamic (default; drawn anew at every visit), threshold (cut at "
        "0.5), mixed (drawn in training, cut in validation and test), grey, static (one draw, fixed for ever).",
    )
    latents: tuple[str, ...] = Field(
        (),
        min_length=1,
        description="Signatures; '{d}', '{k}' and '{-k}' stand for the axes below: 'h{d}:k={k}', 's{d}:k={-k}'.",
    )
    search: Search | None = Field(
        None, description="In place of latents: tries all signatures of a number of dimensions, and ranks them."
    )
    d: tuple[int, ...] = Field((), description="Axis: dimensions for '{d}'.")
    k: tuple[float, ...] = Field((), description="Axis: sectional curvatures for '{k}'.")
    hidden: tuple[tuple[Width, ...], ...] = Field((), description="Axis: hidden layers, a list of lists.")
    kinds: tuple[Kind, ...] = Field(
        ("vae",),
        min_length=1,
        description="Axis: kinds of model; an autoencoder is made of the Euclidean latents only.",
    )
    seeds: int | tuple[int, ...] = Field(1, description="Axis: a number of seeds (0, 1, ...), or a list of them.")
    reference: str | None = Field(
        None,
        description="The latent that all others of equal dimension are compared with; it may use '{d}' (null: the "
        "Euclidean space of equal dimension).",
    )
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, value: Any) -> Any:
        preset = value.get("preset") if isinstance(value, dict) else None
        if not isinstance(preset, str):
            return value
        merged = with_preset(value, preset)
        training = merged.get("training")
        if value.get("search") is not None and isinstance(training, dict):  # whose rungs replace a preset's epochs
            given = value.get("training") or {}
            merged["training"] = {key: item for key, item in training.items() if key != "epochs" or key in given}
        return merged

    @field_validator("seeds", mode="before")
    @classmethod
    def _no_truth(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError(f"{value}: is no number of seeds; write 1, or a list of seeds")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, value: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if value == () or (isinstance(value, int) and value < 1):
            raise ValueError(f"{value!r}: an experiment needs at least one seed")
        if isinstance(value, tuple) and (min(value) < 0 or max(value) >= 2**31 or len(set(value)) < len(value)):
            raise ValueError(f"{list(value)}: seeds are different whole numbers from 0 to 2147483647")
        if isinstance(value, int) and value > 10_000:
            raise ValueError(f"{value}: is a number of seeds, at most 10000; write one seed as a list: [{value}]")
        return value

    @model_validator(mode="after")
    def _searches(self) -> "Experiment":
        if self.search is None:
            if not self.latents:
                raise ValueError("latents: give at least 1 signature, or a 'search' in their place")
            return self
        for key in ("latents", "d", "k"):
            if getattr(self, key):
                raise ValueError(f"{key}: a search makes its own latents; leave it out")
        if self.reference is not None:
            raise ValueError("reference: a search compares its candidates with the best of them; leave it out")
        if len(self.hidden) > 1:
            raise ValueError("hidden: a search compares latent spaces alone; give one list of layers")
        if self.kinds != ("vae",):
            raise ValueError("kinds: a search is one of VAEs; an autoencoder has no curvature to find")
        if "epochs" in self.training.model_fields_set:
            raise ValueError("training.epochs: the rungs of the search say how long its runs train; leave it out")
        if self.training.selection != "validation":
            raise ValueError("training.selection: a search ranks by the epoch with the least validation loss")
        shortest = self.search.rungs[0]
        for key in ("kl_warmup", "curvature_start"):
            if getattr(self.training, key) >= shortest:
                raise ValueError(
                    f"training.{key}: {getattr(self.training, key)} does not end within the {shortest} epochs of the "
                    f"first rung; choose at most {shortest - 1}"
                )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        facts = DATASETS[self.dataset]
        for key, given in (
            ("protocol", self.protocol),
            *(("evaluation.protocols", p) for p in self.evaluation.protocols),
        ):
            if given is not None and given not in facts.protocols:
                raise ValueError(
                    f"{key}: {given!r} is not defined for {self.dataset}; choose {', '.join(facts.protocols)}"
                )
        own = self.protocol or facts.protocols[0]
        same = {own, "threshold"} if own == "mixed" else {own}
        for given in same.intersection(self.evaluation.protocols):
            raise ValueError(f"evaluation.protocols: {given!r} is how the runs are tested anyway; leave it out")
        fitting = (facts.likelihood, *facts.likelihoods)
        if self.model.likelihood not in ("", *fitting):
            raise ValueError(
                f"model.likelihood: {self.model.likelihood!r} does not fit {self.dataset}; "
                f"use {' or '.join(map(repr, fitting))}, or leave it out"
            )
        if self.evaluation.label_budgets and not facts.classes:
            raise ValueError(f"evaluation.label_budgets: the records of {self.dataset} have no classes; leave it out")
        for key in ("fid", "lpips"):
            if getattr(self.evaluation, key) and self.dataset != "celeba":
                raise ValueError(f"evaluation.{key}: is an option of celeba alone, not of {self.dataset}; leave it out")
        for key, axis in (("model.kind", "kinds"), ("model.hidden", "hidden")):
            if key.split(".")[1] in self.model.model_fields_set:
                raise ValueError(f"{key}: is an axis of the grid; write it as the experiment's {axis!r}")
        if self.training.compile == "on" and self.dataset == "qm9":
            raise ValueError("training.compile: 'on' is not for the recurrent networks of qm9; choose auto or off")
        if self.model.convolutions != "float32" and self.dataset != "celeba":
            raise ValueError(f"model.convolutions: {self.dataset} has none; 'bfloat16' is an option of celeba")
        if self.model.network != "plain" and self.dataset != "celeba":
            raise ValueError(f"model.network: {self.model.network!r} is an option of celeba; leave it out")
        if self.model.activation != "relu" and self.dataset in ("celeba", "qm9"):
            raise ValueError(f"model.activation: is an option of mnist and the controls, not of {self.dataset}")
        if self.model.property_weight is not None and self.dataset != "qm9":
            raise ValueError(f"model.property_weight: {self.dataset} has no property head; it is an option of qm9")
        for key in MOLECULAR if self.dataset != "qm9" else ():
            if getattr(self.model, key) != Model.model_fields[key].default:
                raise ValueError(f"model.{key}: is an option of qm9 alone, not of {self.dataset}; leave it out")
        fields = {f for text in self.latents for f in placeholders(text)}
        for name in sorted(fields - {"d", "k", "-k"}):
            raise ValueError(f"latents: placeholder '{{{name}}}' is unknown; use '{{d}}', '{{k}}' or '{{-k}}'")
        fields = {name.removeprefix("-") for name in fields}
        for name in ("d", "k"):
            if name in fields and not getattr(self, name):
                raise ValueError(
                    f"{name}: the latents use '{{{name}}}' but the axis {name!r} is empty: the grid has no runs"
                )
            if name not in fields and getattr(self, name):
                raise ValueError(f"{name}: the axis is given but no latent uses '{{{name}}}'")
        unknown = sorted(placeholders(self.reference or "", "reference") - ({"d"} if self.d else set()))
        if unknown:
            allowed = "only '{d}' may stand in it" if self.d else "without an axis d nothing may stand in it"
            raise ValueError(
                f"reference: placeholder '{{{unknown[0]}}}' of {self.reference!r} means nothing; {allowed}"
            )
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds written out."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


class Study(Frozen):
    """A config file."""

    study: Name = Field("default", description="Name of the study: its report is results/reports/{study}.html.")
    title: str = Field("", description="Heading of the report.")
    data: Data = Data()
    experiments: dict[Name, Experiment] = Field(min_length=1, description="The experiments by name.")


def placeholders(template: str, key: str = "latents") -> set[str]:
    """The names in braces of a latent template; a broken brace is a ``ValueError`` that names the ``key``."""
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"{key}: {template!r} is not a template ({error})") from None
    if any(spec or conversion for _, _, spec, conversion in fields):
        raise ValueError(f"{key}: {template!r} formats its placeholders; write just '{{d}}', '{{k}}' or '{{-k}}'")
    return {name for _, name, _, _ in fields}


def load_study(path: str | Path, source: str | None = None) -> Study:
    """Read and validate a config file; ``source`` replaces its ``data.source``.

    Raises:
        UserError: one sentence that names the file, the key and what is allowed.
    """
    value = read_config(path)
    if source is not None:
        data = value.get("data") or {}
        if not isinstance(data, Mapping):
            raise UserError(f"{path}: data: is a mapping with the key 'source'")
        value["data"] = {**data, "source": source}
    return validate_study(value, str(path))


def validate_study(value: Mapping[str, Any], origin: str = "config") -> Study:
    """Validate a parsed config; ``origin`` names the file in errors."""
    try:
        return Study.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{origin}: {_sentence(first, len(error.errors()) - 1)}") from None


def _sentence(error: Mapping[str, Any], more: int, root: type[BaseModel] | None = None) -> str:
    # Members of unions leave words such as 'int' or 'tuple[int, ...]' in the location: keep the keys.
    location = ""
    for part in error["loc"]:
        if isinstance(part, int):
            location += f"[{part}]"
        elif "[" not in part and part not in ("int", "str", "float"):
            location += f".{part}" if location else part
    if error["type"] == "extra_forbidden":
        message = f"unknown key; the keys here are {', '.join(_keys(error['loc'][:-1], root or Study))}"
    elif error["type"] == "value_error":
        message = str(error["ctx"]["error"])
    elif error["type"] == "missing":
        message = "this key is required"
    else:
        given = error["input"] if error["loc"][-1] != "[key]" else error["loc"][-2]
        said = WORDS.get(error["type"], error["msg"][0].lower() + error["msg"][1:])
        message = f"{given!r}: {said}".replace("tuple", "list")
    rest = f" (and {more} more)" if more else ""
    return f"{location}: {message}{rest}" if location else f"{message}{rest}"


def _keys(location: tuple[Any, ...], model: type[BaseModel]) -> list[str]:
    for part in location:
        if part == "experiments" and model is Study:
            model = Experiment
        elif isinstance(part, str) and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            for choice in (annotation, *get_args(annotation)):
                if isinstance(choice, type) and issubclass(choice, BaseModel):
                    model = choice
    return list(model.model_fields)


def _canonical(model: BaseModel) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        item = getattr(model, name)
        if isinstance(item, BaseModel):
            item = _canonical(item)
        elif isinstance(item, tuple):
            item = list(item)
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "neutral" in extra and item == extra["neutral"]:
            continue
        value[name] = item
    return value


def _with_neutral(model: type[BaseModel], value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    filled = dict(value)
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        if name in filled and isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            filled[name] = _with_neutral(field.annotation, filled[name])
        elif name not in filled and isinstance(extra, dict) and "neutral" in extra:
            filled[name] = extra["neutral"]
    return filled


def schema() -> dict[str, Any]:
    """The JSON schema of a config file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
