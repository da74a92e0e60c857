"""Rule write_report: the study as one self-contained page, and a copy where people look first."""

from pathlib import Path

from mcvae.config import validate_study
from mcvae.grid import plan
from mcvae.logs import log_to
from mcvae.plotting import copy_report, write_report

with log_to(snakemake.log[0]):
    output = Path(snakemake.output.html)
    write_report(
        plan(validate_study(snakemake.config)), Path("results"), output, configfile=snakemake.params.configfile
    )
    copy_report(output, "results/report.html")
