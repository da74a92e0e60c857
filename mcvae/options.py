"""What can be chosen of one run: the preparation of its data, its model, its training, its evaluation.

Every default and every description of a key lives here. A field that was *added* after runs had been named declares
``neutral``: the value that stands for the behaviour before it, and is left out of a run's canonical configuration.
"""

import itertools
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from .datasets import Likelihood, Protocol
from .signature import parse

Kind = Literal["vae", "autoencoder"]
KIND_NAMES: dict[str, str] = {"vae": "VAE", "autoencoder": "autoencoder"}
Width = Annotated[int, Field(ge=1, le=65536)]
Count = Annotated[int, Field(ge=1)]
MOLECULAR = ("encoder", "decoder", "kl_weight", "free_bits", "word_dropout", "networks")  # model options of qm9 alone


class Frozen(BaseModel):
    """Unknown keys are errors, and so are numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MnistOptions(Frozen):
    """Preparation of MNIST has no options: 28x28, split 50k/10k/10k (5:1:1 of a smaller set)."""


class CelebaOptions(Frozen):
    """Preparation of CelebA."""

    size: Literal[32, 64, 128] = Field(
        64, description="Side of the square images in pixels, after the centre crop to 148."
    )


class Qm9Options(Frozen):
    """Preparation of QM9."""

    split_seed: int = Field(0, ge=0, description="Seed of the split.")
    split: Literal["random", "literature", "scaffold"] = Field(
        "random",
        description="'random': 80/10/10; 'literature': 110,000 to train, 10,000 to validate, the rest to test; "
        "'scaffold': 80/10/10 of Bemis-Murcko scaffolds, none of them in two splits.",
    )

    @model_serializer(mode="wrap")
    def _without_neutral(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        value = handler(self)
        if value["split"] == "random":  # what there was before the option: such data keep their names
            del value["split"]
        return value


class Data(Frozen):
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


class Model(Frozen):
    """The model of one run."""

    kind: Kind = Field("vae", description="'vae', or 'autoencoder' (no posterior, no prior: its ELBO and KL are null).")
    hidden: tuple[Width, ...] = Field(
        (),
        description="mnist: widths of the MLP; celeba: channels of the convolutions; qm9: embedding, GRU state.",
    )
    decoder_input: Literal["default", "ambient", "tangent", "gyroplane", "scaled"] = Field(
        "default",
        description="What the decoder sees of z: 'default' is ambient for e and s, tangent (logmap0) for the others; "
        "'gyroplane': signed distances to learned hyperplanes; 'scaled': the default, with coordinates on s of "
        "variance 1 under the uniform distribution, which many dimensions need.",
    )
    prior_scale: Literal["fixed", "learned"] = Field("fixed", description="Scale of the prior: 1, or learned.")
    principal: bool = Field(
        False,
        description="Wrapped normals on spheres without windings, as in Skopek et al. (2020): of mass below 1.",
        json_schema_extra={"neutral": False},
    )
    concentration: Literal["softplus", "exponential"] = Field(
        "softplus",
        description="How vmf and ps posteriors become concentrated with the encoder's output x: softplus(x) + 1, as is "
        "usual, or 1 + dim e^x, which many dimensions need.",
        json_schema_extra={"neutral": "softplus"},
    )
    activation: Literal["relu", "tanh"] = Field(
        "relu",
        description="mnist and controls: what follows each hidden layer.",
        json_schema_extra={"neutral": "relu"},
    )
    likelihood: Likelihood | Literal[""] = Field(
        "",
        description="Of the data; empty: bernoulli for mnist, categorical for qm9, gaussian for the others. celeba: "
        "gaussian (one learned scale), pixel-gaussian (a scale a pixel, from z), logistic (of the 256 levels, one "
        "learned scale), logistic-mixture (of the levels, a mixture at every pixel).",
    )
    network: Literal["plain", "wae", "residual"] = Field(
        "plain",
        description="celeba only: plain (4x4 convolutions), wae (5x5, the widest layer at twice the last side; with "
        "hidden [128, 256, 512, 1024] that of the WAE paper), residual (blocks of two convolutions).",
        json_schema_extra={"neutral": "plain"},
    )
    convolutions: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="celeba only: the precision in which convolutions multiply; float32 is TF32 on a GPU that has it.",
        json_schema_extra={"neutral": "float32"},
    )
    property_weight: float | None = Field(
        None,
        ge=0,
        description="qm9 only: weight of the property head in the loss (null: 10).",
        json_schema_extra={"neutral": None},
    )
    encoder: Literal["sequence", "graph"] = Field(
        "sequence",
        description="qm9 only: what is read of a molecule: its SELFIES, by a recurrent network, or its dense graph, by "
        "messages along bonds and distances (with a linear path in the property head).",
        json_schema_extra={"neutral": "sequence"},
    )
    decoder: Literal["sequence", "draft", "graph"] = Field(
        "sequence",
        description="qm9 only: what z becomes: SELFIES, token after token ('draft': with a draft of all tokens, of "
        "z at once), or a dense graph in one shot.",
        json_schema_extra={"neutral": "sequence"},
    )
    kl_weight: float = Field(
        1.0,
        gt=0,
        description="qm9 only: weight of the KL in the objective, times the warm-up's; ELBO and likelihood have the "
        "whole KL.",
        json_schema_extra={"neutral": 1.0},
    )
    free_bits: float = Field(
        0.0,
        ge=0,
        description="qm9 only: nats of a component's KL, in the mean over a batch, that cost nothing in the objective.",
        json_schema_extra={"neutral": 0.0},
    )
    word_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="qm9 only: share of the decoder's prompt that training hides, so that it has to listen to z.",
        json_schema_extra={"neutral": 0.1},
    )
    networks: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="qm9 only: the precision in which the graph encoder and the drafting and graph decoders multiply.",
        json_schema_extra={"neutral": "float32"},
    )


class Training(Frozen):
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
        "compiler; 'auto': for mnist, if a curved latent trains for 6000 steps or a flat one for 60000. Not for qm9.",
        json_schema_extra={"neutral": "auto"},
    )
    selection: Literal["validation", "last"] = Field(
        "validation",
        description="Which weights are kept: of the epoch with the least validation loss, or of the last epoch.",
        json_schema_extra={"neutral": "validation"},
    )
    records: Annotated[int, Field(ge=1)] | Literal["all"] | None = Field(
        None,
        description="How many of the records of the training and validation splits are trained on, from the first; the "
        "others validate (null: as prepared). With none left, as by 'all', selection has to be 'last'.",
        json_schema_extra={"neutral": None},
    )

    devices: int = Field(
        1,
        ge=1,
        le=64,
        description="Processes that train one run together on one machine, each on a GPU of its own (or on processors) "
        "with its share of every batch: for the models of celeba. Compiled steps are for one.",
        json_schema_extra={"neutral": 1},
    )

    @model_validator(mode="after")
    def _everyone_has_work(self) -> "Training":
        if self.devices > self.batch_size:
            raise ValueError(f"devices: {self.devices} share a batch of {self.batch_size}; choose at most as many")
        if self.devices > 1 and self.compile == "on":
            raise ValueError("compile: 'on' is for one device; choose auto or off, or devices: 1")
        return self

    @model_validator(mode="after")
    def _end_is_known(self) -> "Training":
        if self.selection == "last" and self.patience is not None:
            raise ValueError("patience: needs selection 'validation'; with 'last' every run trains for all its epochs")
        return self

    @model_validator(mode="after")
    def _curvatures_move(self) -> "Training":
        if self.curvature_start >= self.epochs:
            raise ValueError(
                f"curvature_start: {self.curvature_start} leaves no epoch of {self.epochs} in which curvatures move; "
                f"choose at most {self.epochs - 1}"
            )
        return self


class Evaluation(Frozen):
    """What is measured on the test split."""

    protocols: tuple[Protocol, ...] = Field(
        (),
        description="Treatments of the test pixels under which the run is scored besides its own, each in a file "
        "metrics-{protocol}.json.",
    )
    importance_samples: int = Field(500, ge=1, description="Samples of the importance-sampled log-likelihood.")
    images: int | None = Field(
        None, ge=1, description="Test records of the log-likelihood (from the first); null: all."
    )
    likelihood_curve: tuple[Count, ...] = Field(
        (),
        description="Numbers S of importance samples at which the log-likelihood is estimated, to see its bias: "
        "[1, 10, 100, 1000].",
    )
    likelihood_curve_images: int = Field(500, ge=1, description="Test records of that curve (from the first).")
    knn_neighbours: int = Field(5, ge=1, description="Neighbours of the geodesic kNN classifier.")
    knn_labels: int = Field(
        10_000, ge=1, description="Training records that the kNN classifier and the probes of qm9 may look at."
    )
    label_budgets: tuple[Count, ...] = Field(
        (),
        description="Numbers of labelled training records with which kNN and a logistic probe of the "
        "coordinates classify: [100, 600, 1000].",
    )
    label_draws: int = Field(20, ge=1, description="Draws of the labelled records of each budget; the same every run.")
    diagnostics: int | None = Field(
        None,
        ge=2,
        description="Test records (from the first) of the active units, the mutual information of records and latent "
        "points, the aggregate posterior's KL, and of what is lost without a component; null: none of it.",
    )
    samples: int = Field(1000, ge=64, description="Draws from the prior that are judged (celeba, qm9).")
    fid: bool = Field(
        False,
        description="celeba only: FID and KID of the samples, in the features of the original Inception network, whose "
        "weights are fetched (96 MB) and which needs the extra 'faces'.",
    )
    lpips: bool = Field(
        False,
        description="celeba only: LPIPS of the reconstructions, whose AlexNet's weights are fetched (244 MB).",
    )

    @field_validator("likelihood_curve", "label_budgets", "protocols")
    @classmethod
    def _different(cls, value: tuple) -> tuple:
        if len(set(value)) < len(value):
            raise ValueError(f"{list(value)}: names something twice")
        return value

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks of others that are asked for, as the source table names them."""
        return tuple(name for name, asked in (("inception", self.fid), ("lpips", self.lpips)) if asked)

    @model_serializer(mode="wrap")
    def _without_what_is_not_asked(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # The two came after evaluations had been made: those without them are not made anew.
        return {key: item for key, item in handler(self).items() if key not in ("fid", "lpips") or item}


class Search(Frozen):
    """Signatures tried by successive halving: all for the epochs of the first rung, the best of each for the next."""

    dim: int = Field(ge=1, le=4096, description="Dimensions that every latent space has in all.")
    letters: tuple[str, ...] = Field(
        ("e", "s", "h"),
        min_length=1,
        description="What the factors are made of: letters with their options but no dimension, such as 's:vmf'. The "
        "candidates are all products of factors of one dimension, a divisor of dim from 2 on.",
    )
    rungs: tuple[Count, ...] = Field(
        (4, 12, 36), min_length=1, description="Epochs of each rung, rising. Every rung trains from the beginning."
    )
    keep: float = Field(
        1 / 3,
        gt=0,
        lt=1,
        description="Share of a rung's candidates, rounded up, that go on: those of the least mean validation loss.",
    )

    @field_validator("letters")
    @classmethod
    def _legal(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            if not re.fullmatch(r"[a-z](:[^:,]+)*", text):
                raise ValueError(f"{text!r}: write letter [:option]*, such as 'h' or 's:vmf'")
        spaces = [str(parse(_with_dim(text, 2))) for text in value]
        if len(set(spaces)) < len(spaces):
            raise ValueError(f"{list(value)}: names something twice")
        return value

    @field_validator("rungs")
    @classmethod
    def _rising(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(later <= earlier for earlier, later in itertools.pairwise(value)):
            raise ValueError(f"{list(value)}: each rung trains for more epochs than the one before")
        return value

    def factors(self, dim: int) -> list[str]:
        """The letters as spaces of ``dim`` dimensions: ``s:vmf`` -> ``s3:vmf``."""
        return [_with_dim(text, dim) for text in self.letters]


def _with_dim(text: str, dim: int) -> str:
    return f"{text[0]}{dim}{text[1:]}"
