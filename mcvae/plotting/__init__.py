"""Figures and the report, made from the files of finished runs. Nothing is imported before it is asked for."""

import importlib
from typing import Any

_HOME = {
    "plot_comparison": "comparison",
    "plot_curves": "curves",
    "plot_curvature_grid": "curvature_grid",
    "plot_curvature_trajectories": "trajectories",
    "plot_likelihood_curve": "likelihood_curve",
    "plot_differences": "differences",
    "plot_dimensions": "dimensions",
    "plot_label_budgets": "label_budgets",
    "plot_pareto": "pareto",
    "plot_attribute_directions": "geodesics",
    "plot_interpolations": "geodesics",
    "plot_traversals": "geodesics",
    "plot_molecule_paths": "properties",
    "plot_optimised": "properties",
    "plot_properties": "properties",
    "plot_reconstructions": "grids",
    "plot_samples": "grids",
    "plot_decoder_grid": "decoder_maps",
    "plot_latent": "latent",
    "plot_atlas": "atlas",
    "plot_density": "density",
    "plot_component_kl": "component_kl",
    "write_globe": "globe",
    "copy_report": "report",
    "write_report": "report",
}
__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
