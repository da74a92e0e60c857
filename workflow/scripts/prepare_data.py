"""Rule prepare_data: raw files to memory-mapped tensors."""

import json
from pathlib import Path

from mcvae.data import prepare
from mcvae.logs import log_to

with log_to(snakemake.log[0]):
    prepare(
        snakemake.wildcards.dataset,
        Path(snakemake.input.sums).parent,
        Path(snakemake.output.stats).parent,
        json.loads(snakemake.params.options),
        threads=snakemake.threads,
    )
