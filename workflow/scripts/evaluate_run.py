"""Rule evaluate_run: metrics on the test split, and the latents that the figures show."""

from pathlib import Path

from mcvae.evaluation import evaluate
from mcvae.logs import log_to
from mcvae.options import Evaluation
from mcvae.training.devices import job_device

with log_to(snakemake.log[0]):
    evaluate(
        Path(snakemake.output.metrics).parent,
        Path(snakemake.input.stats).parent,
        Evaluation.model_validate_json(snakemake.params.options),
        classifier=Path(snakemake.input.classifier[0]).parent if snakemake.input.classifier else None,
        baseline=snakemake.input.baseline or None,
        weights={path.parent.name.split("-")[0]: path.parent for path in map(Path, snakemake.input.networks)},
        features=snakemake.input.features or None,
        threads=snakemake.threads,
        device=job_device(snakemake.resources),
    )
