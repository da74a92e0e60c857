"""Rule plot_dimensions: metrics against the dimension of the latent space."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_dimensions

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_dimensions(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
