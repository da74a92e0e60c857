"""Rule plot_label_budgets: accuracy against the number of labels."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import plot_label_budgets

with log_to(snakemake.log[0]):
    folders = list(dict.fromkeys(Path(path).parent for path in snakemake.input.runs))
    plot_label_budgets(folders, snakemake.output.svg, snakemake.output.png, note=snakemake.params.note)
