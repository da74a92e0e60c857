"""What every manifold of constant curvature can do: the verbs, their shapes, and how most follow from a few.

A point is ``[..., ambient_dim]``, or ``[..., count, ambient_dim]`` when ``count`` copies, each with its own curvature,
are stacked into one tensor operation. Coordinates of tangent vectors in the frame are ``[..., dim]``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from .trigonometry import safe_sqrt


def split(x: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinate 0 [..., 1] and the coordinates 1 … dim [..., dim] of a vector of the ambient space of s or h."""
    return x.split((1, x.shape[-1] - 1), -1)


class Manifold(nn.Module, ABC):
    """A simply connected space of constant sectional curvature ``k``, with an orthonormal frame at its origin.

    Parallel transport along the geodesic from the origin carries the frame to every other point. Subclasses give the
    normal coordinates of that moving frame, :meth:`expmap_frame` and :meth:`logmap_frame`; the general exponential map,
    logarithm, distance and norm follow.

    Args:
        dim: dimension of the manifold (not of its ambient space).
        k: signed sectional curvature; one number, or one a copy.
        learn: make k a parameter; it keeps its sign (k = ± exp of the parameter), or may change it where ``sign`` is
            None (the parameter is k).
        count: number of stacked copies; None for a single space without the extra axis.

    Raises:
        ValueError: for a dimension or count below 1, or a curvature of the wrong sign.
    """

    letter: str
    sign: int | None  # of the curvature; None where it may be any
    windings: Tensor | None  # of closed geodesics, see mcvae.manifolds.windings; None where exp is one-to-one

    def __init__(self, dim: int, k: float | Sequence[float] | Tensor, learn: bool = False, count: int | None = None):
        super().__init__()
        if dim < 1 or dim != int(dim):
            raise ValueError(f"{self._get_name()}: dim={dim}; give a whole number of dimensions, at least one")
        if count is not None and count < 1:
            raise ValueError(f"{self._get_name()}: count={count}; give at least one copy, or None for a single space")
        curvature = torch.as_tensor(k, dtype=torch.float64).detach()
        shape = () if count is None else (count,)
        if curvature.ndim and curvature.shape != shape:
            raise ValueError(
                f"{self._get_name()}: k of shape {list(curvature.shape)}, count={count}; give one number, or one a copy"
            )
        legal = torch.isfinite(curvature) & ((curvature.sign() == self.sign) | (self.sign is None))
        if not bool(legal.all()):
            allowed = {-1: "finite and k < 0", 0: "k = 0", 1: "finite and k > 0", None: "finite"}[self.sign]
            raise ValueError(f"{self._get_name()}: k={k}; the sectional curvature must be {allowed}")
        if learn and self.sign == 0:
            raise ValueError(f"{self._get_name()}: learn=True; a flat space has no curvature to learn")
        self.dim, self.count, self.learn = dim, count, learn
        self.register_buffer("windings", None, persistent=False)
        curvature = curvature.expand(shape).clone()
        if learn and self.sign is None:
            self.curvature = nn.Parameter(curvature)
        elif learn:
            self.log_curvature = nn.Parameter(curvature.abs().log())
        else:
            self.register_buffer("_curvature", curvature, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Manifold":
        # ``.float()`` and ``.half()`` of a model move curvatures between devices but leave them in float64.
        return super()._apply(lambda tensor: tensor.to(fn(tensor).device), recurse)

    @property
    def ambient_dim(self) -> int:
        """Number of coordinates of a point."""
        return self.dim

    @property
    def k(self) -> Tensor:
        """Signed sectional curvature, float64, shape [] or [count]."""
        if not self.learn:
            return self._curvature
        return self.curvature if self.sign is None else self.sign * self.log_curvature.exp()

    def extra_repr(self) -> str:
        """Arguments as in the constructor, for ``print``."""
        return f"{self.dim}, k={self.k.tolist()}, learn={self.learn}, count={self.count}"

    def _k(self, like: Tensor) -> Tensor:
        """Curvature in the dtype of ``like``, shaped to broadcast against its coordinates."""
        return self.k.to(like.dtype).unsqueeze(-1)

    @property
    def batch_shape(self) -> torch.Size:
        """[] or [count]: the axes that the manifold itself adds in front of the coordinates."""
        return self.k.shape

    def origin(self, *shape: int, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        """The base point, [*shape, (count,) ambient_dim]; default dtype and the device of k unless given."""
        zero = torch.zeros(
            *shape, *self.batch_shape, self.dim, dtype=dtype, device=self.k.device if device is None else device
        )
        return self.expmap0(zero)

    @abstractmethod
    def expmap0(self, u: Tensor) -> Tensor:
        """exp at the origin of the tangent vector with coordinates u [..., dim]."""

    @abstractmethod
    def logmap0(self, x: Tensor) -> Tensor:
        """Coordinates [..., dim] of the logarithm of x at the origin; inverts :meth:`expmap0`."""

    @abstractmethod
    def expmap_frame(self, x: Tensor, u: Tensor) -> Tensor:
        """expmap(x, transp0(x, u)): the point with normal coordinates u [..., dim] at x."""

    @abstractmethod
    def logmap_frame(self, x: Tensor, y: Tensor) -> Tensor:
        """transp0back(x, logmap(x, y)): normal coordinates [..., dim] of y at x; inverts :meth:`expmap_frame`."""

    @abstractmethod
    def transp0(self, y: Tensor, u: Tensor) -> Tensor:
        """The tangent vector at y with coordinates u [..., dim]: u transported along the geodesic from the origin."""

    @abstractmethod
    def transp0back(self, x: Tensor, u: Tensor) -> Tensor:
        """Coordinates [..., dim] of the tangent vector u at x; inverts :meth:`transp0`."""

    @abstractmethod
    def transp(self, x: Tensor, y: Tensor, u: Tensor) -> Tensor:
        """Parallel transport of the tangent vector u from x to y along the geodesic between them."""

    @abstractmethod
    def projx(self, x: Tensor) -> Tensor:
        """A point of the manifold near the ambient point x."""

    @abstractmethod
    def proju(self, x: Tensor, u: Tensor) -> Tensor:
        """Orthogonal projection of the ambient vector u onto the tangent space at x."""

    @abstractmethod
    def logdetexp0(self, u: Tensor) -> Tensor:
        """log |det d exp| at the tangent vector with frame coordinates u [..., dim], the same at every point; [...]."""

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Whether x lies on the manifold up to the square root of the rounding error; bool [...]."""

    def expmap_frame_logdet(self, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`expmap_frame` and :meth:`logdetexp0` of u, which have much in common."""
        return self.expmap_frame(x, u), self.logdetexp0(u)

    def logmap0_logdet(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """:meth:`logmap0` and :meth:`logdetexp0` of it, which have much in common."""
        u = self.logmap0(x)
        return u, self.logdetexp0(u)

    def expmap(self, x: Tensor, u: Tensor) -> Tensor:
        """The end of the geodesic that leaves x with velocity u, a tangent vector at x, after time 1."""
        return self.expmap_frame(x, self.transp0back(x, u))

    def logmap(self, x: Tensor, y: Tensor) -> Tensor:
        """The tangent vector at x whose exponential is y: the initial velocity of the geodesic from x to y."""
        return self.transp0(x, self.logmap_frame(x, y))

    def inner(self, x: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Riemannian inner product of tangent vectors u and v at x; [...]."""
        return (self.transp0back(x, u) * self.transp0back(x, v)).sum(-1)

    def norm(self, x: Tensor, u: Tensor) -> Tensor:
        """Riemannian length of the tangent vector u at x; [...]."""
        return safe_sqrt(self.transp0back(x, u).square().sum(-1))

    def dist(self, x: Tensor, y: Tensor) -> Tensor:
        """Geodesic distance, broadcast over the leading axes; [...]."""
        return safe_sqrt(self.logmap_frame(x, y).square().sum(-1))

    def geodesic(self, t: float | Tensor, x: Tensor, y: Tensor) -> Tensor:
        """The point at time t on the geodesic with x at time 0 and y at time 1; t is a number or [...]."""
        t = t.unsqueeze(-1) if isinstance(t, Tensor) else t
        return self.expmap_frame(x, t * self.logmap_frame(x, y))

    def logdetexp(self, x: Tensor, u: Tensor) -> Tensor:
        """log |det d exp_x| at the tangent vector u at x, against the Riemannian volumes; [...]."""
        return self.logdetexp0(self.transp0back(x, u))

    def random(self, *shape: int, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
        """Points exp(u) with u standard normal at the origin, [*shape, (count,) ambient_dim], from torch's stream."""
        device = self.k.device if device is None else device
        return self.expmap0(torch.randn(*shape, *self.batch_shape, self.dim, dtype=dtype, device=device))
