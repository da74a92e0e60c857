"""How full the slots are while a grid trains: `python tests/benchmarks/slots.py --data path/to/mirror`.

Forty runs of some ten seconds through Snakemake and Ray, in a temporary folder. The number is
(last end - first start of training) x slots / sum of the runs' own training times: 1 where no slot ever waits.
"""

import argparse
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path

import yaml
from growth import copy_workflow, measure, snakemake

BAR = 1.15
GRID = {
    "dataset": "mnist",
    "latents": ["e{d}", "s{d}", "h{d}", "u{d}:learn"],
    "d": [2, 4],
    "hidden": [[256, 128]],
    "seeds": 5,
}


def occupancy(folder: Path, slots: int) -> tuple[int, float, float, float]:
    """Runs, seconds from the first start to the last end, seconds of a run, and their ratio over all slots."""
    found = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/*/provenance.json")]
    starts, ends = ([datetime.fromisoformat(run[key]) for run in found] for key in ("started", "finished"))
    whole = (max(ends) - min(starts)).total_seconds()
    own = sum(run["wall_seconds"] for run in found)
    return len(found), whole, own / len(found), whole * slots / own


def main() -> int:
    """Measure and show; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a local mirror that has MNIST's four files")
    parser.add_argument("--epochs", type=int, default=4, help="so many make a run of some ten seconds")
    parser.add_argument("--slots", type=int, default=2, help="runs at once")
    arguments = parser.parse_args()
    grid = GRID | {"training": {"epochs": arguments.epochs, "batch_size": 128}}
    study = {"study": "slots", "data": {"source": arguments.data}, "experiments": {"grid": grid}}
    with tempfile.TemporaryDirectory(prefix="slots-") as name:
        folder = Path(name)
        copy_workflow(folder)
        (folder / "study.yaml").write_text(yaml.safe_dump(study))
        measure(folder, "data", 1, snakemake("local", arguments.slots, "--until", "prepare_data"))
        cost = measure(folder, "training", 40, snakemake("ray", arguments.slots, "--until", "train_run"))
        runs, whole, each, ratio = occupancy(folder, arguments.slots)
    print(f"{runs} runs of {each:.1f} s on {arguments.slots} slots: {whole:.0f} s from the first start to the last end")
    print(f"command {cost.seconds:.0f} s, of which the driver computes {cost.busy:.0f} s")
    print(f"slots x seconds / sum of runs: {ratio:.3f} (<= {BAR}: {'pass' if ratio <= BAR else 'miss'})")
    return int(ratio > BAR)


if __name__ == "__main__":
    sys.exit(main())
