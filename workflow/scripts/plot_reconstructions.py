"""Rule plot_reconstructions: see mcvae.plotting.plot_reconstructions."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_reconstructions

with log_to(snakemake.log[0]):
    plot_reconstructions(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
