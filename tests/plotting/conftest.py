"""A small generator of run folders that look like finished ones: what the figures are tested on."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mcvae.data.celeba_texts import ATTRIBUTES
from mcvae.signature import parse

SMILES = ("CCO", "c1ccccc1", "CC(=O)N", "OCC1CC1", "N#CC1CO1", "C1CCNC1", "CC(C)=O", "FC(F)F")


@pytest.fixture(scope="session")
def folders() -> SimpleNamespace:
    """The functions below, for tests that are not imported from a folder."""
    return SimpleNamespace(config=config, write_run=write_run, write_result=write_result, provenance=provenance)


def config(dataset: str = "mnist", latent: str = "e2", seed: int = 0, kind: str = "vae") -> dict[str, Any]:
    """A canonical configuration, as run.json holds it."""
    hidden = {"mnist": [256, 128], "celeba": [32, 64], "qm9": [64, 256]}[dataset]
    model = {"kind": kind, "hidden": hidden, "decoder_input": "default", "prior_scale": "fixed"}
    return {
        "dataset": dataset,
        "data": "0a1b2c3d",
        "protocol": "dynamic" if dataset == "mnist" else "standard",
        "latent": latent,
        "model": model | ({"likelihood": "gaussian"} if dataset == "celeba" else {}),
        "training": {"epochs": 30, "batch_size": 128},
        "seed": seed,
    }


def write_run(
    folder: Path, run: dict[str, Any], records: int = 400, epochs: int = 12, status: str = "finished"
) -> Path:
    """Write all files of a run's folder; a diverged one has no latents.npz."""
    folder.mkdir(parents=True, exist_ok=True)
    signature, rng = parse(run["latent"]), np.random.default_rng(run["seed"] + len(run["latent"]))
    curvatures = [c.k for c in signature.components for _ in range(c.count)]
    (folder / "run.json").write_text(json.dumps(run))
    diverged = status == "diverged"
    _write_history(folder / "history.csv", run, rng, epochs, curvatures, diverged)
    metrics = {
        "status": status, "cause": "the loss was not finite at epoch 4" if diverged else None, "epochs": epochs,
        "test.ll": None if diverged else -95.5, "test.knn_accuracy": None if diverged else 0.91,
        **{f"curvature.{i}": k for i, k in enumerate(curvatures)},
        "samples.validity": 1.0, "samples.uniqueness": 0.9, "samples.novelty": 0.7,
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "provenance.json").write_text(json.dumps(provenance()))
    if not diverged:
        np.savez(folder / "latents.npz", **_arrays(run, rng, records))
        if run["dataset"] != "qm9":
            _write_weights(folder, run)
    return folder


def _write_weights(folder: Path, run: dict[str, Any]) -> None:
    """Weights of an untrained model, and what it has to know of its data."""
    import safetensors.torch
    import torch

    from mcvae.config import RunConfig
    from mcvae.models import build

    size = [28, 28] if run["dataset"] == "mnist" else [3, 64, 64]
    stats = {"tensors": {"images": {"shape": [9, *size], "dtype": "uint8"}}, "mean": 0.5, "std": 0.25}
    with torch.random.fork_rng([]):
        torch.manual_seed(run["seed"])
        model = build(RunConfig.from_canonical(run), stats)
    safetensors.torch.save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "stats.json").write_text(json.dumps(stats))


def write_result(
    folder: Path, run: dict[str, Any], metrics: dict[str, float | None], history: dict[str, list[float]] | None = None
) -> Path:
    """A run's folder with the given numbers alone: what the figures of an experiment are tested on."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "metrics.json").write_text(json.dumps({"status": "finished", "cause": None, "epochs": 30} | metrics))
    with open(folder / "history.csv", "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(history or ["epoch"])
        rows.writerows(zip(*(history or {"epoch": []}).values(), strict=True))
    return folder


def provenance(code: str = "12345678") -> dict[str, Any]:
    """What provenance.json holds."""
    return {
        "wall_seconds": 73.4,
        "epoch_seconds": 2.1,
        "peak_memory_bytes": 512_000_000,
        "started": "2026-01-02T03:04:05+00:00",
        "finished": "2026-01-02T03:05:18+00:00",
        "host": "node-1",
        "platform": "Linux-6.1",
        "threads": 1,
        "device": "cpu",
        "versions": {"python": "3.12.1", "mcvae": "0.1.0", "torch": "2.11.0", "numpy": "2.4.0"},
        "code_digest": code,
        "data_digest": "0a1b2c3d",
        "resumed": 0,
    }


def _write_history(
    path: Path, run: dict[str, Any], rng: np.random.Generator, epochs: int, curvatures: list[float], diverged: bool
) -> None:
    autoencoder = run["model"]["kind"] == "autoencoder"
    parts = ["loss", "elbo", "reconstruction", "kl"] + (["property_mae"] if run["dataset"] == "qm9" else [])
    header = ["epoch", *[f"{s}.{p}" for s in ("train", "validation") for p in parts], "beta", "learning_rate"]
    header += [f"curvature.{i}" for i in range(len(curvatures))]
    base, final_kl = -110 + 8 * rng.random(), 6 + 10 * rng.random()
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for epoch in range(1, epochs + 1):
            row: dict[str, float | str] = {"epoch": epoch, "beta": 1.0, "learning_rate": 1e-3}
            for split in ("train", "validation"):
                kl = final_kl * (1 - np.exp(-epoch / 2))
                reconstruction = (
                    base + 14 - 190 * np.exp(-epoch / 1.6) + rng.normal(0, 0.5) - final_kl * (split != "train") / 9
                )
                if diverged and epoch == epochs:
                    reconstruction = np.nan
                values = {
                    "loss": kl - reconstruction,
                    "elbo": reconstruction - kl,
                    "reconstruction": reconstruction,
                    "kl": kl,
                }
                values["property_mae"] = 0.2 + np.exp(-epoch / 3)
                if autoencoder:
                    values |= {"loss": -reconstruction, "elbo": np.nan, "kl": np.nan}
                row |= {f"{split}.{p}": "" if np.isnan(values[p]) else repr(float(values[p])) for p in parts}
            row |= {f"curvature.{i}": k * (1 + 0.02 * epoch) for i, k in enumerate(curvatures)}
            writer.writerow([row[name] for name in header])


def _arrays(run: dict[str, Any], rng: np.random.Generator, records: int) -> dict[str, np.ndarray]:
    signature, dataset = parse(run["latent"]), run["dataset"]
    labels = rng.integers(0, 10, records)
    centres = rng.normal(0, 1.1, (10, signature.dim))
    tangent = (centres[labels] + rng.normal(0, 0.33, (records, signature.dim))).astype(np.float32)
    arrays: dict[str, np.ndarray] = {"loc": tangent, "tangent": tangent}
    arrays |= _surfaces(run, tangent)
    if dataset == "qm9":
        arrays["properties"] = (7 + 1.3 * tangent[:, :1] + rng.normal(0, 0.2, (records, 12))).astype(np.float32)
        arrays["inputs"] = np.array([SMILES[i % 8] for i in range(16)])
        arrays["reconstructions"] = np.array([SMILES[(i * i) % 8] if i != 5 else "" for i in range(16)])
        arrays["samples"] = np.array([SMILES[(3 * i) % 8] for i in range(64)])
        return arrays
    shape = (28, 28) if dataset == "mnist" else (3, 64, 64)
    if dataset == "mnist":
        arrays["labels"] = labels.astype(np.uint8)
    else:
        arrays["attributes"] = (rng.random((records, 40)) < 0.5).astype(np.uint8)
        arrays["attribute_names"] = np.array([*sorted(set(ATTRIBUTES) - {"Smiling"}), "Smiling"])
        arrays["attributes"][:, 39] = labels > 4
    arrays["inputs"] = _pictures(shape, rng.normal(0, 1, (16, 2)))
    arrays["reconstructions"] = 0.9 * arrays["inputs"]
    if run["model"]["kind"] == "vae":
        arrays["samples"] = _pictures(shape, rng.normal(0, 1, (64, 2)))
    if any(c.dim == 2 and c.letter != "e" for c in signature.components):
        some = _pictures((*shape[:-2], 28, 28), rng.normal(0, 1, (min(records, 50), 2)))
        arrays |= {"thumbnails": (255 * some).astype(np.uint8), "thumbnail_records": np.arange(len(some))}
    if signature.dim == 2 and len(signature.components) == 1:
        arrays |= _grid(shape, signature.components[0].k)
    return arrays


def _surfaces(run: dict[str, Any], tangent: np.ndarray) -> dict[str, np.ndarray]:
    """Outlines and densities of the components of two dimensions: of a normal about the origin, and one off it."""
    if run["model"]["kind"] == "autoencoder":
        return {}
    found: dict[str, np.ndarray] = {"contour_records": np.arange(min(len(tangent), 10))}
    turn = np.linspace(0, 2 * np.pi, 25)
    ellipse = np.stack([0.3 * np.cos(turn), 0.1 * np.sin(turn)], -1)
    start = index = 0
    for component in parse(run["latent"]).components:
        for _ in range(component.count):
            if component.dim == 2:
                reach = 0.999 * np.pi / np.sqrt(component.k) if component.k > 0 else 3.0
                radius, angle = np.meshgrid(np.linspace(0, reach, 15), np.linspace(0, 2 * np.pi, 31), indexing="ij")
                at = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1)
                off = [-((at - shift) ** 2).sum(-1) for shift in (1.0, 0.0)]
                found[f"contours.{index}"] = tangent[:10, None, start : start + 2] + ellipse.astype(np.float32)
                found[f"density_at.{index}"] = at.astype(np.float32)
                found[f"density.{index}"] = np.stack(off).astype(np.float32)
            start, index = start + component.dim, index + 1
    return found


def _grid(shape: tuple[int, ...], k: float, side: int = 7) -> dict[str, np.ndarray]:
    kind, across, up = "plane", 3.0, 3.0
    if k > 0:
        kind, across, up = "equirectangular", np.pi * (1 - 1 / side), np.pi / 2 * (1 - 1 / side)
    elif k < 0:
        kind, across, up = "disc", 0.95, 0.95
    x, y = np.meshgrid(np.linspace(-across, across, side), np.linspace(up, -up, side))
    coordinates = np.stack([x, y], -1)
    if kind == "disc":
        coordinates[np.hypot(x, y) > 0.95] = np.nan
    grid = _pictures(shape, np.nan_to_num(coordinates).reshape(-1, 2)).reshape(side, side, *shape)
    grid[np.isnan(coordinates).any(-1)] = np.nan
    return {"grid": grid, "grid_coordinates": coordinates.astype(np.float32), "grid_kind": np.array(kind)}


def _pictures(shape: tuple[int, ...], codes: np.ndarray) -> np.ndarray:
    """Rings whose size and slant follow two numbers: [n, *shape] in [0, 1]."""
    y, x = np.mgrid[-1 : 1 : shape[-2] * 1j, -1 : 1 : shape[-1] * 1j]
    a, b = (c[:, None, None] for c in np.tanh(codes.T))
    radius = np.hypot(x + 0.4 * b * y, (1.1 - 0.4 * a) * y)
    rings = np.exp(-(((radius - 0.5 - 0.15 * a) / 0.14) ** 2))
    if len(shape) == 2:
        return rings.astype(np.float32)
    tint = 0.5 + 0.5 * np.cos(np.array([0.0, 2.0, 4.0])[None, :, None, None] + 2 * a[:, None])
    return (rings[:, None] * tint).astype(np.float32)
