"""Rule plot_latent: see mcvae.plotting.plot_latent."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_latent

with log_to(snakemake.log[0]):
    plot_latent(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
