"""Rule plot_curves: the training curves of an experiment."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_curves

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_curves(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
