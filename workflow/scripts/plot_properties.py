"""Rule plot_properties: see mcvae.plotting.plot_properties."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_properties

with log_to(snakemake.log[0]):
    plot_properties(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
