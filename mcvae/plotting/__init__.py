"""Figures and the report, made from the files of finished runs. Nothing is imported before it is asked for."""

import importlib
from typing import Any

_HOME = {
    "plot_curves": "curves",
    "plot_curvature_grid": "curvature_grid",
    "plot_curvature_trajectories": "trajectories",
    "plot_likelihood_curve": "likelihood_curve",
    "plot_differences": "differences",
    "plot_reconstructions": "grids",
    "plot_samples": "grids",
    "plot_decoder_grid": "grids",
    "plot_latent": "latent",
    "write_report": "report",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
