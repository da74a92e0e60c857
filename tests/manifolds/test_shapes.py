"""Our broadcast of shapes is torch's, without its imports."""

import itertools

import pytest
import torch

from mcvae.manifolds.shapes import broadcast_shapes

SHAPES = [(), (1,), (3,), (2, 1), (2, 3), (1, 1, 3), (4, 1, 1), (0,), (1, 0)]


@pytest.mark.parametrize("shapes", [*itertools.product(SHAPES, repeat=2), ((2, 1), (3,), (4, 1, 1))])
def test_shapes_broadcast_as_in_torch(shapes):
    try:
        expected = torch.broadcast_shapes(*shapes)
    except RuntimeError:
        with pytest.raises(ValueError, match="do not broadcast"):
            broadcast_shapes(*shapes)
    else:
        assert broadcast_shapes(*shapes) == expected
