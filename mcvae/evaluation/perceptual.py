"""LPIPS: how far reconstructions are from their pictures in the features of AlexNet, weighted as people judge.

Zhang, Isola, Efros, Shechtman & Wang 2018, "The unreasonable effectiveness of deep features as a perceptual metric";
AlexNet is torchvision's, the weights of its channels are those of the authors' version 0.1. The authors' package
builds its networks by calls that torchvision has deprecated and fetches weights itself, so tests alone use it.
"""

import logging
import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.weights import read_weights
from ..errors import UserError
from .blocks import blocks

logger = logging.getLogger("mcvae.evaluation")

NETWORK, CHANNELS = "alexnet-owt-7be5be79.pth", "alex.pth"  # files of weights
ENDS = (2, 5, 8, 10, 12)  # of the five parts of AlexNet: after each rectifier
LEAST = 31  # pixels of a side that the second pooling needs
LPIPS_KEY = "test.lpips"


class Lpips(nn.Module):
    """Pictures x, y [B, 3, S, S] in [0, 1], S >= 31 -> distances [B]."""

    def __init__(self, features: nn.Sequential, weights: list[Tensor]) -> None:
        """``features``: AlexNet's convolutions. ``weights``: [1, C, 1, 1] of each of the five parts."""
        super().__init__()
        self.parts = nn.ModuleList(features[start:end] for start, end in zip((0, *ENDS), ENDS, strict=False))
        for index, weight in enumerate(weights):
            self.register_buffer(f"weight{index}", weight)
        # Of pixels in [-1, 1]; those of ImageNet, rounded as the authors have them.
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(-1, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(-1, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Σ_l mean over places of w_l · (f̂_l(x) - f̂_l(y))², f̂ of unit length over channels (eq. 1)."""
        both = (2 * torch.cat([x, y]) - 1 - self.shift) / self.scale
        total = x.new_zeros(len(x))
        for index, part in enumerate(self.parts):
            both = part(both)
            unit = both / (both.norm(dim=1, keepdim=True) + 1e-10)
            first, second = unit.chunk(2)
            weighted = getattr(self, f"weight{index}") * (first - second).square()
            total = total + weighted.sum(1).mean((1, 2))
        return total


def load_lpips(folder: str | os.PathLike, device: str | torch.device = "cpu") -> Lpips:
    """LPIPS with the weights in ``folder``.

    Raises:
        UserError: torchvision is not installed, or the weights are not there or not what was fetched.
    """
    try:
        from torchvision.models import alexnet
    except ImportError as error:
        raise UserError(f"evaluation.lpips needs torchvision (pip install 'mcvae[data]'): {error}") from None
    with torch.device("meta"):  # without the layers that tell classes, which are most of its weights
        features = alexnet().features
    known = read_weights(folder, NETWORK)
    own = {name.removeprefix("features."): tensor for name, tensor in known.items() if name.startswith("features.")}
    lines = read_weights(folder, CHANNELS)
    try:
        features.load_state_dict(own, assign=True)
        network = Lpips(features, [lines[f"lin{index}.model.1.weight"] for index in range(len(ENDS))])
    except (KeyError, RuntimeError) as error:
        raise UserError(f"{Path(folder)}: no weights of LPIPS ({str(error)[:200]})") from None
    return network.requires_grad_(False).eval().to(device)


@torch.inference_mode()
def perceptual_metrics(model: nn.Module, network: Lpips, test: Mapping[str, Tensor]) -> dict[str, float | int | None]:
    """``test.lpips``: mean LPIPS of the test pictures and the decoder means at their posterior locations, in their own
    size; None for pictures below 31 pixels."""
    if min(test["images"].shape[-2:]) < LEAST:
        logger.warning("LPIPS needs pictures of %d pixels: test.lpips is null", LEAST)
        return {LPIPS_KEY: None}
    found = []
    for block in blocks(model, test):
        y = model.mean(model.decode(model.posterior(block.inputs).loc))
        found.append(network(block.inputs.observed, y.float()))
    return {LPIPS_KEY: torch.cat(found).double().mean().item()}
