"""Rule train_attribute_classifier: the network in whose features samples of faces are compared."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.training.attributes import train_attribute_classifier
from mcvae.training.devices import job_device

with log_to(snakemake.log[0]):
    train_attribute_classifier(
        Path(snakemake.input.stats).parent,
        Path(snakemake.output.facts).parent,
        threads=snakemake.threads,
        device=job_device(snakemake.resources),
    )
