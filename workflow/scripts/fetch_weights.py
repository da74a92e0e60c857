"""Rule fetch_weights: the official weights of one network, verified."""

from pathlib import Path

from mcvae.data.weights import fetch_weights
from mcvae.logs import log_to

with log_to(snakemake.log[0]):
    source = snakemake.config.get("data", {}).get("source", "embedded")
    fetch_weights(snakemake.wildcards.network, source, Path(snakemake.output.sums).parent)
