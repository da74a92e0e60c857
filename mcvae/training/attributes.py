"""Train the attribute classifier of a prepared data set, and read it back: one a data set, whatever runs use it.

The same data give the same bits on the CPU. The validation split alone decides which epoch is kept, and which is last.
"""

import copy
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from torch import Tensor

from .. import data
from ..data.pages import bounded
from ..errors import UserError
from ..files import canonical_json, digest, read_json, write_json
from ..models.attributes import AttributeClassifier
from .adam import Adam
from .checkpoint import save_model
from .ranking import auroc
from .seeding import generator, settings, stream

logger = logging.getLogger("mcvae.training")

EPOCHS, PATIENCE, BATCH, RATE = 30, 4, 64, 1e-3
WEIGHTS, FACTS = "model.safetensors", "classifier.json"


def train_attribute_classifier(
    prepared: str | os.PathLike,
    folder: str | os.PathLike,
    *,
    epochs: int = EPOCHS,
    threads: int = 1,
    device: str = "cpu",
) -> dict[str, Any]:
    """Train on the training split's attributes; write model.safetensors and classifier.json into ``folder``.

    Binary cross-entropy, the mean over attributes; pictures are mirrored at random. It ends after ``epochs``, or when
    the validation loss has not fallen for four. Returns classifier.json's content: ``data`` (digest of the tensors),
    ``epochs`` that were trained, ``best_epoch``, and of that one on the validation split ``validation.loss`` in nats an
    attribute, ``validation.accuracy`` and ``validation.auroc`` (mean over the attributes that vary there; None if none
    does); ``validation.rates_loss`` of answering the training rates; ``attributes``, their number.

    Raises:
        UserError: data without attributes.
    """
    dataset, folder = data.load(prepared), Path(folder)
    if "attributes" not in dataset.tensors:
        raise UserError(f"{dataset.folder}: {dataset.name} has no attributes to be told")
    target = torch.device(device)
    with settings(threads):
        network = _untrained(dataset.stats).to(target)
        with stream(0, "attribute classifier/noise", target):
            facts, best = _train(network, dataset, epochs, target)
    facts |= {"data": content_digest(dataset), "attributes": dataset.stats["tensors"]["attributes"]["shape"][1]}
    folder.mkdir(parents=True, exist_ok=True)
    save_model(folder / WEIGHTS, best)
    write_json(folder / FACTS, facts)
    return facts


def load_attribute_classifier(
    folder: str | os.PathLike, dataset: data.Dataset, device: str | torch.device = "cpu"
) -> AttributeClassifier:
    """The trained classifier in ``folder``, for evaluation.

    Raises:
        UserError: it is not there, is broken, or was trained on other data.
    """
    folder = Path(folder)
    facts = read_json(folder / FACTS)
    if facts.get("data") != content_digest(dataset):
        raise UserError(f"{folder}: the attribute classifier was trained on other data than those in {dataset.folder}")
    network = _untrained(dataset.stats)
    try:
        network.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{folder / WEIGHTS}: no weights of the attribute classifier ({str(error)[:200]})") from None
    network.auroc = facts.get("validation.auroc")
    return network.to(device).eval()


def content_digest(dataset: data.Dataset) -> str:
    """8 hex digits of the checksums of the pictures and attributes."""
    tensors = dataset.stats["tensors"]
    return digest(canonical_json({name: tensors[name] for name in ("images", "attributes")}))


def _untrained(stats: Mapping[str, Any]) -> AttributeClassifier:
    tensors = stats["tensors"]
    with stream(0, "attribute classifier/initialisation"):
        return AttributeClassifier(tensors["images"]["shape"][1:], tensors["attributes"]["shape"][1])


def _train(
    network: AttributeClassifier, dataset: data.Dataset, epochs: int, device: torch.device
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    train = {name: dataset.split("train")[name].to(device) for name in ("images", "attributes")}
    validation = dataset.split("validation")
    optimizer, orders = Adam(network.parameters()), generator(0, "attribute classifier/order")
    best: dict[str, Tensor] = {}
    facts: dict[str, Any] = {}
    for epoch in range(1, epochs + 1):
        network.train()
        order = torch.randperm(len(train["images"]), generator=orders).to(device)
        for index in bounded(order.split(BATCH), train.values()):
            optimizer.zero_grad()
            pictures, truth = _batch(train, index)
            mirrored = torch.rand(len(index), 1, 1, 1, device=device) < 0.5
            pictures = torch.where(mirrored, pictures.flip(-1), pictures)
            F.binary_cross_entropy_with_logits(network(pictures), truth).backward()
            optimizer.step(RATE, None, None)
        found = _validate(network.eval(), validation, device)
        facts["epochs"] = epoch
        told = ", ".join(f"{name} {value:.4f}" for name, value in found.items() if value is not None)
        logger.info("attribute classifier: epoch %d  %s", epoch, told)
        if not best or found["validation.loss"] < facts["validation.loss"]:
            facts |= {"best_epoch": epoch} | found
            best = copy.deepcopy(network.state_dict())
        elif epoch - facts["best_epoch"] == PATIENCE:
            break
    rates = train["attributes"].double().mean(0).clamp(1e-6, 1 - 1e-6).cpu()
    truth = validation["attributes"].double()
    facts["validation.rates_loss"] = F.binary_cross_entropy(rates.expand_as(truth), truth).item()
    return facts, best


def _batch(tensors: Mapping[str, Tensor], index: Tensor) -> tuple[Tensor, Tensor]:
    return tensors["images"][index].float() / 255, tensors["attributes"][index].float()


@torch.no_grad()
def _validate(
    network: AttributeClassifier, tensors: Mapping[str, Tensor], device: torch.device
) -> dict[str, float | None]:
    """Binary cross-entropy in nats, share of right answers, AUROC; means over records and attributes."""
    images = tensors["images"]
    answers = [
        network(images[index].to(device).float() / 255).cpu()
        for index in bounded(torch.arange(len(images)).split(8 * BATCH), [images])
    ]
    logits, truth = torch.cat(answers).double(), tensors["attributes"].double()
    each = auroc(logits, truth)
    each = each[~each.isnan()]
    return {
        "validation.loss": F.binary_cross_entropy_with_logits(logits, truth).item(),
        "validation.accuracy": ((logits > 0) == (truth > 0)).double().mean().item(),
        "validation.auroc": each.mean().item() if len(each) else None,
    }
