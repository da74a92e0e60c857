"""Rule plot_likelihood_curve: log-likelihood against the number of importance samples."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_likelihood_curve

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_likelihood_curve(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
