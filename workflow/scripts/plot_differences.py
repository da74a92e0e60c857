"""Rule plot_differences: paired differences from the Euclidean spaces of equal dimension, or the references."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_differences

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_differences(
        folders,
        snakemake.output.svg,
        snakemake.output.png,
        note=snakemake.params.note,
        references=snakemake.params.references,
    )
