"""Variational autoencoders with fixed- and mixed-curvature latent spaces."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # What Snakemake parses and what `--help` needs must not wait for torch.
    if name == "load":
        from .trained import load

        return load
    raise AttributeError(f"module 'mcvae' has no attribute {name!r}")
