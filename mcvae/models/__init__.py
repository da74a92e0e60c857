"""Models: VAEs and the plain autoencoder over any latent space; ``build`` makes a run's model."""

from .autoencoder import Autoencoder
from .base import Model, Terms
from .factory import build
from .inputs import Inputs
from .vae import VAE

__all__ = ["VAE", "Autoencoder", "Inputs", "Model", "Terms", "build"]
