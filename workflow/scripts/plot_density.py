"""Rule plot_density: see mcvae.plotting.plot_density."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_density

with log_to(snakemake.log[0]):
    plot_density(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
