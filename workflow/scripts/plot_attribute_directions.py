"""Rule plot_attribute_directions: see mcvae.plotting.plot_attribute_directions."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_attribute_directions

with log_to(snakemake.log[0]):
    plot_attribute_directions(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
