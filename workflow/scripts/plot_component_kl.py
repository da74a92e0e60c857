"""Rule plot_component_kl: KL of each component of products."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_component_kl

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_component_kl(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
