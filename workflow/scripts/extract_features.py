"""Rule extract_features: what FID and KID compare samples with, the same for all runs of a data set."""

from pathlib import Path

from mcvae.evaluation.inception import write_reference
from mcvae.logs import log_to
from mcvae.training.devices import job_device

with log_to(snakemake.log[0]):
    write_reference(
        Path(snakemake.input.stats).parent,
        Path(snakemake.input.weights[0]).parent,
        snakemake.output.features,
        int(snakemake.wildcards.samples),
        threads=snakemake.threads,
        device=job_device(snakemake.resources),
    )
