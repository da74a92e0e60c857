"""A study as validated, frozen data: what a config file may say, its defaults, and its one canonical form.

A study is a mapping of experiments; an experiment is a grid over latents, dimensions ``d``, curvatures ``k``, hidden
layers, kinds of model and seeds. Every default lives here; the YAML schema in ``workflow/schemas`` is generated from
these classes (``mcvae schema``). No torch here: Snakemake parses with this module.

**Canonical form.** A run is named by its canonical configuration. All fields are written out, so a later change of a
default never renames an old run. A field that is *added* later declares ``neutral``: the value that stands for the old
behaviour and is left out, so that old runs keep their names too.
"""

import string
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .errors import UserError
from .signature import Signature, parse
from .yaml_file import read_config

Dataset = Literal["mnist", "celeba", "qm9"]
Kind = Literal["vae", "autoencoder"]
KIND_NAMES: dict[str, str] = {"vae": "VAE", "autoencoder": "autoencoder"}
Protocol = Literal["dynamic", "threshold", "grey", "standard"]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
Width = Annotated[int, Field(ge=1, le=65536)]

PROTOCOLS: dict[str, tuple[str, ...]] = {
    "mnist": ("dynamic", "threshold", "grey"),
    "celeba": ("standard",),
    "qm9": ("standard",),
}
LIKELIHOODS = {"mnist": "bernoulli", "celeba": "gaussian", "qm9": "categorical"}
DEFAULT_PROPERTY_WEIGHT = {"mnist": None, "celeba": None, "qm9": 10.0}
DEFAULT_HIDDEN = {"mnist": (256, 128), "celeba": (32, 64, 128, 256), "qm9": (64, 256)}
WORDS = {  # what pydantic says in its own terms
    "model_type": "must be a mapping of keys to values",
    "dict_type": "must be a mapping of names to values",
    "tuple_type": "must be a list",
    "string_type": "must be text",
    "string_pattern_mismatch": "must be lower-case letters, digits and hyphens, at most 64 of them",
}


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MnistOptions(_Frozen):
    """Preparation of MNIST has no options: 28x28, split 50k/10k/10k (5:1:1 of a smaller set)."""


class CelebaOptions(_Frozen):
    """Preparation of CelebA."""

    size: Literal[32, 64, 128] = Field(
        64, description="Side of the square images in pixels, after the centre crop to 148."
    )


class Qm9Options(_Frozen):
    """Preparation of QM9."""

    split_seed: int = Field(0, ge=0, description="Seed of the random 80/10/10 split.")


class Data(_Frozen):
    """Where the raw files come from, and how each data set is prepared."""

    source: str = Field(
        "embedded",
        description="'embedded' (small stand-ins, made on the spot), 'download' (official files), or a folder with "
        "SHA256SUMS (a mirror).",
        min_length=1,
    )
    mnist: MnistOptions = MnistOptions()
    celeba: CelebaOptions = CelebaOptions()
    qm9: Qm9Options = Qm9Options()


class Model(_Frozen):
    """The model of one run."""

    kind: Kind = Field("vae", description="'vae', or 'autoencoder' (no posterior, no prior: its ELBO and KL are null).")
    hidden: tuple[Width, ...] = Field(
        (),
        description="mnist: widths of the MLP; celeba: channels of the convolutions; qm9: embedding, GRU state.",
    )
    decoder_input: Literal["default", "ambient", "tangent", "gyroplane"] = Field(
        "default",
        description="What the decoder sees of z: 'default' is ambient for e and s, tangent (logmap0) for the others; "
        "'gyroplane': signed distances to learned hyperplanes.",
    )
    prior_scale: Literal["fixed", "learned"] = Field("fixed", description="Scale of the prior: 1, or learned.")
    principal: bool = Field(
        False,
        description="Wrapped normals on spheres without windings, as in Skopek et al. (2020): of mass below 1.",
        json_schema_extra={"neutral": False},
    )
    likelihood: Literal["", "bernoulli", "gaussian", "categorical"] = Field(
        "", description="Of the data; empty: bernoulli for mnist, gaussian for celeba, categorical for qm9."
    )
    property_weight: float | None = Field(
        None,
        ge=0,
        description="qm9 only: weight of the property head in the loss (null: 10).",
        json_schema_extra={"neutral": None},
    )


class Training(_Frozen):
    """How one run is trained. The validation split alone decides what is kept."""

    epochs: int = Field(30, ge=1, description="Passes over the training split.")
    batch_size: int = Field(128, ge=1, description="Records a step; never more than the training split holds.")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step size.")
    schedule: Literal["constant", "cosine"] = Field("constant", description="Of the learning rate over the epochs.")
    kl_warmup: int = Field(0, ge=0, description="Epochs over which the weight of the KL grows from 0 to 1.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many epochs without a better validation loss; those of kl_warmup, and those before "
        "curvature_start, do not count.",
    )
    gradient_clip: float | None = Field(None, gt=0, description="Largest norm of the gradient.")
    curvature_learning_rate: float | None = Field(
        None,
        gt=0,
        description="Adam's step size for learned curvatures, under the same schedule (null: learning_rate).",
        json_schema_extra={"neutral": None},
    )
    curvature_start: int = Field(
        0,
        ge=0,
        description="Epochs before learned curvatures start to move.",
        json_schema_extra={"neutral": 0},
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether torch.compile makes the training step, which takes it up to half a minute and a C++ "
        "compiler; 'auto': for curved latents of mnist that train for at least 6000 steps. Not for qm9.",
        json_schema_extra={"neutral": "auto"},
    )

    @model_validator(mode="after")
    def _curvatures_move(self) -> "Training":
        if self.curvature_start >= self.epochs:
            raise ValueError(
                f"curvature_start: {self.curvature_start} leaves no epoch of {self.epochs} in which curvatures move; "
                f"choose at most {self.epochs - 1}"
            )
        return self


class Evaluation(_Frozen):
    """What is measured on the test split."""

    importance_samples: int = Field(500, ge=1, description="Samples of the importance-sampled log-likelihood.")
    images: int | None = Field(
        None, ge=1, description="Test records of the log-likelihood (from the first); null: all."
    )
    knn_neighbours: int = Field(5, ge=1, description="Neighbours of the geodesic kNN classifier.")
    knn_labels: int = Field(10_000, ge=1, description="Training records that the kNN classifier may look at.")
    samples: int = Field(1000, ge=64, description="Draws from the prior that are judged (qm9).")


class RunConfig(_Frozen):
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


class Experiment(_Frozen):
    """A grid of runs on one data set, with one table and a set of figures."""

    title: str = Field("", description="Heading in the report.")
    description: str = Field("", description="What is asked, in a sentence or two, for the report.")
    dataset: Dataset
    protocol: Protocol | None = Field(
        None, description="Treatment of the pixels; mnist: dynamic (default), threshold, grey."
    )
    latents: tuple[str, ...] = Field(
        min_length=1,
        description="Signatures; '{d}', '{k}' and '{-k}' stand for the axes below: 'h{d}:k={k}', 's{d}:k={-k}'.",
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
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()

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
    def _consistent(self) -> "Experiment":
        allowed = PROTOCOLS[self.dataset]
        if self.protocol is not None and self.protocol not in allowed:
            raise ValueError(
                f"protocol: {self.protocol!r} is not defined for {self.dataset}; choose {', '.join(allowed)}"
            )
        if self.model.likelihood not in ("", LIKELIHOODS[self.dataset]):
            raise ValueError(
                f"model.likelihood: {self.model.likelihood!r} does not fit {self.dataset}; "
                f"use {LIKELIHOODS[self.dataset]!r} or leave it out"
            )
        for key, axis in (("model.kind", "kinds"), ("model.hidden", "hidden")):
            if key.split(".")[1] in self.model.model_fields_set:
                raise ValueError(f"{key}: is an axis of the grid; write it as the experiment's {axis!r}")
        if self.training.compile == "on" and self.dataset == "qm9":
            raise ValueError("training.compile: 'on' is not for the recurrent networks of qm9; choose auto or off")
        if self.model.property_weight is not None and self.dataset != "qm9":
            raise ValueError(f"model.property_weight: {self.dataset} has no property head; it is an option of qm9")
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
        return self

    @property
    def seed_list(self) -> tuple[int, ...]:
        """The seeds written out."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


class Study(_Frozen):
    """A config file."""

    study: Name = Field("default", description="Name of the study: its report is results/reports/{study}.html.")
    title: str = Field("", description="Heading of the report.")
    data: Data = Data()
    experiments: dict[Name, Experiment] = Field(min_length=1, description="The experiments by name.")


def placeholders(template: str) -> set[str]:
    """The names in braces of a latent template; a broken brace is a ``ValueError``."""
    try:
        fields = [field for field in string.Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise ValueError(f"latents: {template!r} is not a template ({error})") from None
    if any(spec or conversion for _, _, spec, conversion in fields):
        raise ValueError(f"latents: {template!r} formats its placeholders; write just '{{d}}', '{{k}}' or '{{-k}}'")
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
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                model = annotation
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
