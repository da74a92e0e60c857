"""Rule plot_molecule_paths: see mcvae.plotting.plot_molecule_paths."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_molecule_paths

with log_to(snakemake.log[0]):
    plot_molecule_paths(
        Path(snakemake.input.run[0]).parent, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note
    )
