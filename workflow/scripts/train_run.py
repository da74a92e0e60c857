"""Rule train_run: train one run to its best validation loss."""

import json
from pathlib import Path

from mcvae.config import RunConfig
from mcvae.logs import log_to
from mcvae.training import fit
from mcvae.training.devices import job_device

with log_to(snakemake.log[0]):
    run = RunConfig.from_canonical(json.loads(snakemake.params.run))
    fit(
        run,
        Path(snakemake.input.stats).parent,
        Path(snakemake.output.config).parent,
        threads=max(1, snakemake.threads // run.training.devices),
        device=job_device(snakemake.resources, run.training.devices),
        wait_seconds=120,  # for a trainer that outlives a killed driver
    )
