"""Rule plot_curvature_grid: log-likelihood and accuracy of an experiment's spaces against their curvature."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_curvature_grid

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_curvature_grid(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
