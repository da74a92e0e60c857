"""A finished run as an object: ``mcvae.load(folder)`` encodes, decodes, samples and interpolates in one line each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import RunConfig
from .errors import UserError
from .evaluation.blocks import predicted_properties
from .files import read_json
from .latent import LatentSpace
from .models import Model
from .training import load_run, read_config
from .training.seeding import stream

BATCH = 500
Records = Mapping[str, Tensor] | Tensor | np.ndarray | Sequence[str]


@dataclass(frozen=True)
class TrainedRun:
    """A trained model with its configuration; points z are [..., ambient_dim], on the model's device.

    Attributes:
        folder: where it was trained, or unpacked.
        config: the run's configuration, all of it.
        stats: what is known of its data: shapes, vocabulary, targets.
        model: in evaluation mode, with the weights of the best epoch.
    """

    folder: Path
    config: RunConfig
    stats: Mapping[str, Any]
    model: Model

    @property
    def latent(self) -> LatentSpace:
        """The latent space: its ``manifold``, ``prior()``, ``curvatures()``."""
        return self.model.latent

    @property
    def metrics(self) -> dict[str, Any]:
        """What the evaluation measured: metrics.json. Raises: UserError before the run is evaluated."""
        return read_json(self.folder / "metrics.json")

    @torch.inference_mode()
    def encode(self, records: Records, *, samples: int | None = None, seed: int = 0) -> Tensor:
        """Points of records: the posterior's location [B, ambient_dim], or draws from it [samples, B, ambient_dim].

        Equal arguments give equal points: pixels that the run's protocol draws, and draws of z, follow ``seed``.

        Args:
            records: images uint8 [B, ...] in 0 .. 255 of the size that the model knows, observations [B, D] of the
                controls, SMILES, or the raw tensors of a split, as ``mcvae.data.load(...).split("test")`` has them.

        Raises:
            UserError: records of another kind, size or alphabet.
        """
        batch = self._batch(records)
        parts = []
        with stream(seed, "encode", self._device):
            for start in range(0, len(next(iter(batch.values()))), BATCH):
                part = {name: tensor[start : start + BATCH].to(self._device) for name, tensor in batch.items()}
                posterior = self.model.posterior(self.model.prepare(part))
                parts.append(posterior.loc if samples is None else posterior.rsample((samples,)))
        return torch.cat(parts, -2)

    @torch.inference_mode()
    def decode(self, z: Tensor) -> Tensor | list[str]:
        """What lies at points z [..., ambient_dim]: mean images in [0, 1] or mean observations [..., *record].

        Of molecules: their SMILES, greedily decoded, in one list; an empty text where no molecule came out.

        Raises:
            UserError: z has another width than the latent space.
        """
        if z.shape[-1] != self.latent.ambient_dim:
            raise UserError(
                f"z of shape {list(z.shape)}: points of {self.config.latent} are [..., {self.latent.ambient_dim}]"
            )
        flat = z.to(self._device).flatten(0, -2)
        if "vocabulary" in self.stats:
            return [text for part in flat.split(BATCH) for text in self._smiles(part)]
        means = torch.cat([self.model.mean(self.model.decode(part)) for part in flat.split(BATCH)])
        return means.unflatten(0, z.shape[:-1])

    @torch.inference_mode()
    def sample(self, number: int, *, seed: int = 0) -> Tensor | list[str]:
        """What :meth:`decode` makes of ``number`` draws from the prior. Raises: UserError for an autoencoder."""
        return self.decode(self.prior_points(number, seed=seed))

    @torch.inference_mode()
    def prior_points(self, number: int, *, seed: int = 0) -> Tensor:
        """Draws from the prior, [number, ambient_dim]. Raises: UserError for an autoencoder, which has none."""
        if self.model.kind == "autoencoder":
            raise UserError(f"{self.folder}: an autoencoder has no prior to draw from")
        with stream(seed, "sample", self._device):
            return self.latent.prior().rsample((number,))

    @torch.inference_mode()
    def interpolate(self, start: Tensor, end: Tensor, steps: int = 10) -> Tensor:
        """Points of the geodesic between two [..., ambient_dim] at equal distances, both ends among them.

        Returns:
            [steps, ..., ambient_dim]; :meth:`decode` shows them.
        """
        times = torch.linspace(0, 1, steps, device=self._device, dtype=start.dtype)
        times = times.view(-1, *[1] * (max(start.ndim, end.ndim) - 1))
        return self.latent.manifold.geodesic(times, start.to(self._device), end.to(self._device))

    @torch.inference_mode()
    def properties(self, z: Tensor) -> dict[str, Tensor]:
        """Predicted properties at z [..., ambient_dim], each [...] in its unit. Raises: UserError without a head.

        Of records, :meth:`predict` says more: the head learned from draws of posteriors, not from their locations.
        """
        self._require_head()
        return self._in_units(self.model.properties(z.to(self._device)))

    def predict(self, records: Records) -> dict[str, Tensor]:
        """Predicted properties of records, each [B] in its unit: the head in the mean over draws of the posterior.

        As the evaluation predicts those of the test split (:func:`mcvae.evaluation.blocks.predicted_properties`).

        Args:
            records: as :meth:`encode` takes them.

        Raises:
            UserError: as :meth:`encode`; a model without a head.
        """
        self._require_head()
        return self._in_units(predicted_properties(self.model, self._batch(records)))

    def _require_head(self) -> None:
        if self.model.head is None:
            raise UserError(f"{self.folder}: a model of {self.config.dataset} predicts no properties")

    def _in_units(self, predicted: Tensor) -> dict[str, Tensor]:
        return {t["name"]: predicted[..., i] * t["std"] + t["mean"] for i, t in enumerate(self.stats["targets"])}

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _batch(self, records: Records) -> dict[str, Tensor]:
        reads = self.model.protocol.reads
        if isinstance(records, Mapping):
            missing = [name for name in reads if name not in records]
            if missing:
                raise UserError(
                    f"records with {', '.join(records)}: {self.config.dataset} needs {', '.join(missing)} too"
                )
            return {name: records[name] for name in reads}
        if "vocabulary" in self.stats:
            from .data.smiles import tensors_of

            return {name: tensor for name, tensor in tensors_of(list(records), self.stats).items() if name in reads}
        name = reads[0]
        described = self.stats["tensors"][name]
        shape, dtype = described["shape"][1:], described["dtype"]
        tensor = torch.as_tensor(np.asarray(records))
        if list(tensor.shape[1:]) != shape or (dtype == "uint8") != (tensor.dtype == torch.uint8):
            given = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
            raise UserError(f"records {given}: {name} of this run are {dtype} [B, {', '.join(map(str, shape))}]")
        batch = {name: tensor if tensor.dtype == torch.uint8 else tensor.float()}
        # Pixels that are drawn once and for ever are drawn by a record's number: these are numbered from zero.
        return batch | ({"ids": torch.arange(len(tensor), dtype=torch.int32)} if "ids" in reads else {})

    def _smiles(self, z: Tensor) -> list[str]:
        from .evaluation.chemistry import molecules_of

        graphs = self.model.protocol.makes_graphs
        decoded = molecules_of(self.model.generate(z).cpu().numpy(), self.stats["vocabulary"], graphs)
        return [text or "" for text in decoded]


def load(folder: str | os.PathLike, *, prepared: str | os.PathLike | None = None, device: str = "cpu") -> TrainedRun:
    """The finished run in ``folder``: ``mcvae.load("results/runs/mnist/s2-vmf-s0-0123abcd")``.

    What the model has to know of its data is read from stats.json: in the folder itself (an exported model), in
    ``prepared``, or in resources/prepared beside the results that the folder lies in.

    Raises:
        UserError: no finished run, or no stats.json of its data.
    """
    folder = Path(folder)
    config = read_config(folder)
    places = [folder] if prepared is None else [Path(prepared)]
    if prepared is None:
        resources = [parent.parent / "resources" for parent in folder.resolve().parents if parent.name == "results"]
        places += [place / "prepared" / f"{config.dataset}-{config.data}" for place in [*resources, Path("resources")]]
    found = next((place / "stats.json" for place in places if (place / "stats.json").is_file()), None)
    if found is None:
        looked = ", ".join(str(place) for place in places)
        raise UserError(f"{folder}: no stats.json of its data in {looked}; give prepared=")
    stats = read_json(found)
    model, config = load_run(folder, stats, device)
    return TrainedRun(folder, config, stats, model.eval())
