"""Rule score_run: metrics on the test split under another protocol than the run's own."""

from pathlib import Path

from mcvae.evaluation import score
from mcvae.logs import log_to
from mcvae.options import Evaluation
from mcvae.training.devices import job_device

with log_to(snakemake.log[0]):
    score(
        Path(snakemake.output.metrics).parent,
        Path(snakemake.input.stats).parent,
        snakemake.wildcards.protocol,
        Evaluation.model_validate_json(snakemake.params.options),
        threads=snakemake.threads,
        device=job_device(snakemake.resources),
    )
