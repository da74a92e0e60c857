"""Rule write_globe: see mcvae.plotting.write_globe."""

from pathlib import Path

from mcvae.logs import log_to
from mcvae.plotting import write_globe

with log_to(snakemake.log[0]):
    write_globe(Path(snakemake.input.run[0]).parent, snakemake.output.html, note=snakemake.params.note)
