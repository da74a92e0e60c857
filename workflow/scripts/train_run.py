"""Rule train_run: train one run to its best validation loss."""

import json
from pathlib import Path

from mcvae.config import RunConfig
from mcvae.logs import log_to
from mcvae.training import fit
from mcvae.training.devices import job_device

with log_to(snakemake.log[0]):
    fit(
        RunConfig.from_canonical(json.loads(snakemake.params.run)),
        Path(snakemake.input.stats).parent,
        Path(snakemake.output.config).parent,
        threads=snakemake.threads,
        device=job_device(snakemake.resources),
        wait_seconds=120,  # for a trainer that outlives a killed driver
    )
