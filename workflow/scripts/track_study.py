"""Rule track_study: everything of the study that lies in files, in MLflow."""

from pathlib import Path

from mcvae.config import validate_study
from mcvae.files import write_text
from mcvae.grid import plan
from mcvae.logs import log_to
from mcvae.tracking import sync_study

with log_to(snakemake.log[0]):
    summary = sync_study(plan(validate_study(snakemake.config)), Path("results"))
    write_text(snakemake.output.stamp, f"{summary}\n")
