"""The structural similarity of pictures (Wang, Bovik, Sheikh & Simoncelli 2004), with the paper's constants."""

import torch
import torch.nn.functional as F
from torch import Tensor

WINDOW, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for pixels in [0, 1]


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Mean structural similarity [B] of pictures x and y [B, C, H, W] in [0, 1], each side at least 11 pixels.

    (2 m_x m_y + C1) (2 s_xy + C2) / ((m_x² + m_y² + C1) (s_x² + s_y² + C2)) (eq. 13), with moments under a Gaussian
    window of 11x11 and standard deviation 1.5; the mean over the places where it fits in, and over colours.

    Raises:
        ValueError: smaller pictures.
    """
    if min(x.shape[-2:]) < WINDOW:
        raise ValueError(f"pictures of {x.shape[-2]}x{x.shape[-1]} pixels: the window has {WINDOW}x{WINDOW}")
    steps = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.softmax(-0.5 * (steps / DEVIATION).square(), 0)

    def smooth(values: Tensor) -> Tensor:
        flat = values.flatten(0, 1).unsqueeze(1)
        return F.conv2d(F.conv2d(flat, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1)).view(*values.shape[:2], -1)

    mean_x, mean_y = smooth(x), smooth(y)
    covariance = smooth(x * y) - mean_x * mean_y
    variances = smooth(x.square()) - mean_x.square() + smooth(y.square()) - mean_y.square()
    brightness = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    return (brightness * (2 * covariance + C2) / (variances + C2)).mean((1, 2))
