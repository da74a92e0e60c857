"""Rule fit_baseline: properties of molecules predicted from their fingerprints, beside which all runs stand."""

from pathlib import Path

from mcvae.evaluation.fingerprints import write_baseline
from mcvae.logs import log_to

with log_to(snakemake.log[0]):
    write_baseline(Path(snakemake.input.stats).parent, snakemake.output.predictions)
