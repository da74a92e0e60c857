"""Evaluation of one trained run: likelihood, classification from the latent, diagnostics, generation, molecules."""

from importlib import import_module
from typing import Any

_HOMES = {
    "evaluate": "run",
    "score": "run",
    "log_likelihood": "likelihood",
    "bound": "likelihood",
    "knn_metrics": "classification",
    "latent_grid": "generation",
    "decode_tokens": "chemistry",
    "describe_samples": "chemistry",
}
__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    # On demand: molecules are described only where RDKit is.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
