"""Rule plot_interpolations: see mcvae.plotting.plot_interpolations."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_interpolations

with log_to(snakemake.log[0]):
    plot_interpolations(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
