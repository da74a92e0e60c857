"""Data: raw files fetched, tensors prepared, data sets loaded. Nothing here imports torch before ``load`` is called."""

from .fetch import fetch
from .load import Dataset, load
from .prepare import prepare

__all__ = ["Dataset", "fetch", "load", "prepare"]
