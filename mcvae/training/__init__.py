"""Training: ``fit`` trains one run into its folder, ``load_run`` gives the finished model back."""

from .checkpoint import load_run, read_config
from .fit import data_digest, fit

__all__ = ["data_digest", "fit", "load_run", "read_config"]
