"""Rule fetch_raw: the official raw files of one data set, verified."""

from pathlib import Path

from mcvae.data import fetch
from mcvae.logs import log_to

with log_to(snakemake.log[0]):
    source = snakemake.config.get("data", {}).get("source", "embedded")
    fetch(snakemake.wildcards.dataset, source, Path(snakemake.output.sums).parent)
