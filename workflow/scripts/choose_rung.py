"""Rule choose_rung: the candidates of one rung of a search that go on to the next."""

from pathlib import Path

from mcvae.files import write_json
from mcvae.logs import log_to
from mcvae.search import Rung, decide

with log_to(snakemake.log[0]):
    write_json(snakemake.output.decision, decide(Rung.from_text(snakemake.params.rung), Path("results")))
