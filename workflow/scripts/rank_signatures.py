"""Rule rank_signatures: the candidates of a search in their order, as CSV and Markdown."""

from pathlib import Path

from mcvae.config import validate_study
from mcvae.findings.ranking import write_ranking
from mcvae.grid import plan
from mcvae.logs import log_to

with log_to(snakemake.log[0]):
    planned = plan(validate_study(snakemake.config))
    experiment = planned.experiments[snakemake.wildcards.experiment]
    outputs = {name: Path(path) for name, path in snakemake.output.items()}
    write_ranking(experiment, Path("results"), outputs, data=planned.data[experiment.spec.dataset])
