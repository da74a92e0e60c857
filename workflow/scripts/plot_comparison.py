"""Rule plot_comparison: autoencoder and VAEs of one dimension side by side."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_comparison

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_comparison(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
