"""The code of an MLflow model: MLflow keeps a copy of it beside the weights, and runs it to load the model.

One input, named after what is to be done: ``{"encode": records}``, ``{"decode": points}`` or ``{"sample": number}``.
"""

from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

import mcvae
from mcvae.errors import UserError

METHODS = ("encode", "decode", "sample")


class RunModel(PythonModel):
    """A finished run. ``load_model(uri).unwrap_python_model().run`` is what ``mcvae.load(folder)`` gives.

    ``load_model(uri, model_config={"device": "cuda"})`` puts it elsewhere than on the CPU.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Read the run from the model's artifacts."""
        device = (context.model_config or {}).get("device", "cpu")
        self.run = mcvae.load(context.artifacts["run"], device=device)

    def predict(self, context, model_input: pd.DataFrame, params: dict[str, Any] | None = None):
        """Points [B, ambient_dim] of records, or what lies at points, or at draws from the prior.

        Args:
            model_input: one row with one column: ``encode``, records as :meth:`mcvae.trained.TrainedRun.encode` takes
                them; ``decode``, points [B, ambient_dim]; or ``sample``, how many. MLflow makes it of a dictionary.
            params: ``seed`` of what is drawn.

        Returns:
            An array, or a list of SMILES where molecules are decoded.

        Raises:
            UserError: not exactly one of the three, or what the method itself refuses.
        """
        given = [name for name in METHODS if name in model_input]
        if len(given) != 1 or len(model_input) != 1:
            raise UserError(f"inputs {list(model_input)}: give one of {', '.join(METHODS)}, such as {{'sample': 4}}")
        value = model_input[given[0]].iloc[0]
        seed = (params or {}).get("seed", 0)
        if given[0] == "sample":
            made = self.run.sample(int(value), seed=seed)
        elif given[0] == "decode":
            made = self.run.decode(self._points(value))
        else:
            made = self.run.encode(self._records(value), seed=seed)
        return made if isinstance(made, list) else made.cpu().numpy()

    def _points(self, value: Any):
        import torch

        dtype = next(self.run.model.parameters()).dtype
        return torch.as_tensor(np.array(list(value)), dtype=dtype)

    def _records(self, value: Any) -> Any:
        if "vocabulary" in self.run.stats:
            return list(value)
        records = np.array(list(value))
        # MLflow's numbers are 64-bit; which bytes they were is in the data's description.
        dtype = np.dtype(next(iter(self.run.stats["tensors"].values()))["dtype"])
        if dtype == np.uint8 and records.size and not 0 <= records.min() <= records.max() <= 255:
            raise UserError(f"records from {records.min()} to {records.max()}: pixels are 0 to 255")
        return records.astype(dtype)


set_model(RunModel())
