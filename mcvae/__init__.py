"""Variational autoencoders with fixed- and mixed-curvature latent spaces."""

__version__ = "0.1.0"
