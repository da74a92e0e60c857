"""Rule plot_curvature_trajectories: the learned curvatures of an experiment over the epochs."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_curvature_trajectories

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_curvature_trajectories(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
