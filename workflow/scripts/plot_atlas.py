"""Rule plot_atlas: see mcvae.plotting.plot_atlas."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_atlas

with log_to(snakemake.log[0]):
    plot_atlas(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
