"""Rule plot_traversals: see mcvae.plotting.plot_traversals."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_traversals

with log_to(snakemake.log[0]):
    plot_traversals(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
