"""Rule plot_decoder_grid: see mcvae.plotting.plot_decoder_grid."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_decoder_grid

with log_to(snakemake.log[0]):
    plot_decoder_grid(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
