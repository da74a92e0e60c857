"""Rule plot_pareto: log-likelihood against parameters and training time."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_pareto

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_pareto(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
