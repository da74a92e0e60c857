"""Rule plot_samples: see mcvae.plotting.plot_samples."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_samples

with log_to(snakemake.log[0]):
    plot_samples(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
