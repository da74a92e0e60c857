"""What a model of molecules gets right: properties, reconstructions, and what its samples are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.inputs import PAD
from . import chemistry
from .generation import RECONSTRUCTIONS, SAMPLES, prior_sample

CAP = 2000  # test records that are reconstructed token by token
BATCH = 500


def generated(model: torch.nn.Module, z: Tensor) -> Tensor:
    """Greedily decoded tokens [n, L] at z [n, ambient_dim], aligned with the records' tokens after the start token."""
    with torch.inference_mode():
        return torch.cat([model.generate(part) for part in z.split(BATCH)]).cpu()


@torch.inference_mode()
def property_metrics(
    model: torch.nn.Module, test: Mapping[str, Tensor], loc: Tensor, targets: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """``test.mae.{target}``: mean absolute error of the joint head at the posterior location, in the target's unit;
    ``test.mae_baseline.{target}``: that of predicting the training mean always.

    Args:
        targets: the ``targets`` of stats.json: name, mean and std of each (of the training split, in its unit).
    """
    mean, std = (torch.tensor([target[key] for target in targets], dtype=torch.float64) for key in ("mean", "std"))
    truth = (test["properties"].double() - mean) / std
    predicted = torch.cat([model.properties(part) for part in loc.split(BATCH)]).double().cpu()
    names = [target["name"] for target in targets]
    errors = {"mae": (predicted - truth).abs().mean(0) * std, "mae_baseline": truth.abs().mean(0) * std}
    return {
        f"test.{kind}.{name}": value
        for kind, error in errors.items()
        for name, value in zip(names, error.tolist(), strict=True)
    }


def molecules(
    model: torch.nn.Module,
    test: Mapping[str, Tensor],
    loc: Tensor,
    vocabulary: Sequence[str],
    training_smiles: Sequence[str],
    samples: int,
) -> tuple[dict[str, float | int | None], dict[str, np.ndarray]]:
    """Metrics and SMILES of greedy reconstructions (at the posterior location) and of draws from the prior.

    ``test.exact_reconstruction``: share of the first 2,000 test molecules that come back as the same molecule (equal
    canonical SMILES); ``test.token_accuracy``: share of their tokens, the end token counted, that do. ``samples.…``:
    see :func:`mcvae.evaluation.chemistry.describe_samples`; null for an autoencoder, which has no prior.

    Arrays of text: ``inputs`` and ``reconstructions`` [16], ``samples`` [64]; "" stands for no molecule.
    """
    truth = test["tokens"][:CAP, 1:].long()
    tokens = generated(model, loc[:CAP])
    given, back = (chemistry.decode_tokens(t, vocabulary) for t in (truth, tokens))
    observed = truth != PAD
    exact = sum(a is not None and a == b for a, b in zip(given, back, strict=True))
    metrics: dict[str, float | int | None] = {
        "test.exact_reconstruction": exact / len(given),
        "test.token_accuracy": ((tokens == truth) & observed).sum().item() / observed.sum().item(),
        "test.reconstruction_n": len(given),
    }
    arrays = {"inputs": _text(given[:RECONSTRUCTIONS]), "reconstructions": _text(back[:RECONSTRUCTIONS])}
    if model.kind == "autoencoder":
        return metrics, arrays
    drawn = chemistry.decode_tokens(generated(model, prior_sample(model, samples)), vocabulary)
    metrics |= chemistry.describe_samples(drawn, training_smiles)
    return metrics, arrays | {"samples": _text(drawn[:SAMPLES])}


def _text(smiles: Sequence[str | None]) -> np.ndarray:
    return np.array([text or "" for text in smiles], dtype=np.str_)
