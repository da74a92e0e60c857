"""The support of a distribution on a manifold, as a constraint of torch.distributions."""

from torch import Tensor
from torch.distributions import constraints

from ..manifolds import Manifold


class OnManifold(constraints.Constraint):
    """Points [..., ambient_dim] of ``manifold``, up to rounding errors."""

    event_dim = 1

    def __init__(self, manifold: Manifold):
        self.manifold = manifold
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Whether each point lies on the manifold; bool [...]."""
        return self.manifold.contains(value)

    def __repr__(self) -> str:
        name, k = type(self.manifold).__name__, self.manifold.k.tolist()
        return f"a point of {name}({self.manifold.dim}, k={k}) in {self.manifold.ambient_dim} coordinates"
