"""Rule plot_optimised: see mcvae.plotting.plot_optimised."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_optimised

with log_to(snakemake.log[0]):
    plot_optimised(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
