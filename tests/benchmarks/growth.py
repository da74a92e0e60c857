"""How the workflow grows with the number of runs: planning, scheduling, tables, report, tracking and memory.

    python tests/benchmarks/growth.py --runs 100 500 1000 2000 --without-jobs 5000 10000 --json growth.json

Works on a copy of `workflow/` in a temporary folder, in which `train_run` copies files of one small real run instead of
training. All numbers of its runs are made up; only times and memory mean anything.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import yaml

ROOT = Path(__file__).resolve().parents[2]
RUNS_A_LAYER = 100  # 4 letters x 5 dimensions x 5 seeds; a study grows by choices of the hidden layer
MEGABYTE = 10**6
FAR = 100_000

NO_TRAINING = '''"""Stands in for train_run: files of one small run, under this run's configuration."""

import shutil
from pathlib import Path

template = Path(snakemake.scriptdir).parent / "template"
for name in ("model.safetensors", "history.csv", "training.json", "provenance.json"):
    shutil.copyfile(template / name, Path(snakemake.output.config).with_name(name))
Path(snakemake.output.config).write_text(snakemake.params.run + "\\n")
Path(snakemake.log[0]).touch()
'''

STUDY = "from mcvae.config import load_study; from mcvae.grid import plan; p = plan(load_study('study.yaml')); "
RESULTS = "from pathlib import Path; r = Path('results'); "
STAGES = {
    "plan": STUDY + "[(run.folder, run.prepared) for run in p.runs.values()]",
    "tables": STUDY
    + RESULTS
    + "from mcvae.findings.tables import write_table\n"
    + "for e in p.experiments.values(): write_table(e, r, {k: r / f'tables/{e.name}.{k}' for k in "
    + "('csv', 'md', 'tex')} | {k: r / f'tables/{e.name}.{k}.csv' for k in ('differences', 'published', 'curvatures', "
    + "'likelihood')}, data=p.data[e.spec.dataset])",
    "report": STUDY + RESULTS + "from mcvae.plotting import write_report; write_report(p, r, r / 'report.html')",
    "tracking": STUDY + RESULTS + "from mcvae.tracking import sync_study; sync_study(p, r)",
    "tracking again": STUDY + RESULTS + "from mcvae.tracking import sync_study; sync_study(p, r)",
}
TEMPLATE = (
    STUDY
    + RESULTS
    + "from mcvae.evaluation import evaluate; from mcvae.training import fit; run = next(iter(p.runs.values())); "
    + "t = Path('workflow/template'); fit(run.config, run.prepared, t); evaluate(t, run.prepared, run.evaluation)"
)

# What the training jobs leave, without the jobs: for sizes at which only what reads the files is measured.
FABRICATE = (
    STUDY
    + RESULTS
    + "import shutil; t = Path('workflow/template')\n"
    + "for run in p.runs.values():\n"
    + "    run.folder.mkdir(parents=True, exist_ok=True); (run.folder / 'run.json').write_text(run.canonical)\n"
    + "    for n in ('history.csv', 'training.json', 'provenance.json'): shutil.copyfile(t / n, run.folder / n)\n"
)


@dataclass(frozen=True)
class Cost:
    """What one stage took for a study of so many runs.

    `seconds` of wall time; `busy`, processor seconds of its main process, which other load on the machine leaves alone;
    `megabytes`, the largest resident set of that process.
    """

    stage: str
    runs: int
    seconds: float
    busy: float
    megabytes: float


def study(runs: int) -> dict:
    """A grid of so many runs, a multiple of a hundred: twenty spaces, five seeds, and choices of the hidden layer."""
    if runs < RUNS_A_LAYER or runs % RUNS_A_LAYER:
        raise ValueError(f"{runs} runs: choose a multiple of {RUNS_A_LAYER}")
    grid = {
        "dataset": "mnist",
        "latents": ["e{d}", "s{d}", "h{d}", "u{d}:learn"],
        "d": [2, 3, 4, 5, 6],
        "hidden": [[8 + layer] for layer in range(runs // RUNS_A_LAYER)],
        "seeds": 5,
        "training": {"epochs": 3},
        "evaluation": {"importance_samples": 5, "images": 50},
    }
    return {"study": "growth", "experiments": {"grid": grid}}


def copy_workflow(folder: Path) -> None:
    """A working directory of its own for a study."""
    shutil.copy(ROOT / "Snakefile", folder)
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=shutil.ignore_patterns("plugins", "__pycache__"))


def make_door(folder: Path, runs: int) -> None:
    """A working directory with a copy of the workflow that trains nothing."""
    copy_workflow(folder)
    (folder / "workflow/scripts/train_run.py").write_text(NO_TRAINING)
    write_study(folder, runs)


def write_study(folder: Path, runs: int) -> None:
    """The study of a working directory."""
    (folder / "study.yaml").write_text(yaml.safe_dump(study(runs)))


def snakemake(executor: str, slots: int, *arguments: str) -> list[str]:
    """Snakemake with the default profile, as `make` calls it."""
    machine = ["--executor", executor, "--cores", str(slots)] + (["--ray-cpus", str(slots)] * (executor == "ray"))
    profile = ["--workflow-profile", str(ROOT / "profiles/default")]
    return [sys.executable, "-m", "snakemake", *profile, *machine, "--configfile=study.yaml", *arguments]


def measure(folder: Path, stage: str, runs: int, command: Sequence[str]) -> Cost:
    """Run a command in the folder and watch its main process.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    paths = [str(ROOT), str(ROOT / "workflow/plugins"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    log = folder / "said.txt"
    start = time.perf_counter()
    with open(log, "wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    peak, busy, watched = 0, 0.0, psutil.Process(process.pid)
    while process.poll() is None:
        with watched.oneshot():
            peak = max(peak, watched.memory_info().rss)
            busy = max(busy, sum(watched.cpu_times()[:2]))
        time.sleep(0.02)
    if process.wait() != 0:
        raise RuntimeError(f"{stage} of {runs} runs failed:\n{log.read_text()[-3000:]}")
    return Cost(stage, runs, time.perf_counter() - start, busy, peak / MEGABYTE)


def fill(folder: Path) -> None:
    """Numbers and latents for every trained run, as its evaluation would leave them; made up, different for each."""
    template = folder / "workflow/template"
    metrics = json.loads((template / "metrics.json").read_text())
    generator = np.random.default_rng(0)
    for run in folder.glob("results/runs/*/*/run.json"):
        noise = 1 + 0.01 * generator.standard_normal()
        numbers = {key: value * noise if isinstance(value, float) else value for key, value in metrics.items()}
        run.with_name("metrics.json").write_text(json.dumps(numbers))
        shutil.copyfile(template / "latents.npz", run.with_name("latents.npz"))


def planning(folder: Path, runs: int) -> list[Cost]:
    """The plan alone, and a dry run of the whole study from nothing."""
    write_study(folder, runs)
    dry = snakemake("local", 2, "-n", "--quiet", "all")
    return [
        measure(folder, "plan", runs, [sys.executable, "-c", STAGES["plan"]]),
        measure(folder, "dry run", runs, dry),
    ]


def prepare(folder: Path, slots: int) -> None:
    """The data, and the small real run whose files stand for all others; both once."""
    if not (folder / "workflow/template").exists():
        measure(folder, "data", 0, snakemake("local", slots, "--until", "prepare_data"))
        measure(folder, "template", 0, [sys.executable, "-c", TEMPLATE])


def training(folder: Path, runs: int, slots: int) -> list[Cost]:
    """Training jobs that do nothing, and a second call that finds nothing to do."""
    train = snakemake("ray", slots, "--until", "train_run")
    costs = [measure(folder, "training jobs", runs, train), measure(folder, "nothing to do", runs, train)]
    made = len(list(folder.glob("results/runs/*/*/training.json")))
    if made != runs:
        raise RuntimeError(f"{made} of {runs} runs were made")
    return costs


def reading(folder: Path, runs: int, stages: Sequence[str]) -> list[Cost]:
    """What reads the files of all runs: tables, report, tracking."""
    measure(folder, "files", runs, [sys.executable, "-c", FABRICATE])
    fill(folder)
    return [measure(folder, name, runs, [sys.executable, "-c", STAGES[name]]) for name in stages]


def clean(folder: Path) -> None:
    """Nothing made, and nothing remembered of it."""
    for name in ("results", ".snakemake"):
        shutil.rmtree(folder / name, ignore_errors=True)


def fit(costs: Sequence[Cost]) -> tuple[float, float | None, float]:
    """Of processor seconds: start-up t0 and power p of t = t0 + b N^p with the least relative error; t at 100,000 runs.

    p is None where it cannot be told: of fewer than three sizes, or where the largest takes less than four times as
    long as the smallest; t is then that of the line through these two.
    """
    n = np.array([cost.runs for cost in costs], float)
    t = np.array([cost.busy for cost in costs])
    if len(n) < 3 or t[-1] < 4 * t[0]:
        return float(t[0]), None, float(t[0] + (t[-1] - t[0]) / max(n[-1] - n[0], 1) * FAR)
    best = (np.inf, 0.0, 1.0, 0.0)
    for power in np.arange(0.5, 2.51, 0.01):
        scaled = np.stack([1 / t, (n / n[-1]) ** power / t], axis=1)
        (start, slope), *_ = np.linalg.lstsq(scaled, np.ones_like(t), rcond=None)
        error = float(np.sum((scaled @ (start, slope) - 1) ** 2))
        if start >= 0 and slope > 0 and error < best[0]:
            best = (error, float(start), float(power), float(slope) / n[-1] ** power)
    _, start, power, factor = best
    return start, power, start + factor * FAR**power


def table(costs: Sequence[Cost]) -> str:
    """Markdown: a row a stage, a column a size with seconds, processor seconds and MB; then the fit."""
    sizes = sorted({cost.runs for cost in costs})
    lines = [
        "| stage | " + " | ".join(f"{size:,}" for size in sizes) + f" | grows as | at {FAR:,} |",
        "|---|" + "---|" * (len(sizes) + 2),
    ]
    for stage in dict.fromkeys(cost.stage for cost in costs):
        own = sorted((cost for cost in costs if cost.stage == stage), key=lambda cost: cost.runs)
        found = {cost.runs: f"{cost.seconds:.1f} ({cost.busy:.1f}), {cost.megabytes:.0f} MB" for cost in own}
        cells = [found.get(size, "") for size in sizes]
        start, power, far = fit(own)
        grows = f"{start:.1f} s, N^{power:.2f}" if power else f"{start:.1f} s, little more"
        far_text = f"{far / 3600:.1f} h" if far > 3600 else f"{far / 60:.0f} min"
        lines.append(f"| {stage} | " + " | ".join(cells) + f" | {grows} | {far_text} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, show each number as it comes, and the table at the end."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--runs", type=int, nargs="*", default=[100, 500, 1000, 2000], help="sizes with training and tracking"
    )
    parser.add_argument(
        "--without-jobs", type=int, nargs="*", default=[5000, 10000], help="sizes without training and tracking"
    )
    parser.add_argument("--slots", type=int, default=2, help="jobs at once")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    arguments = parser.parse_args()
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="growth-") as name:
        folder = Path(name)
        make_door(folder, RUNS_A_LAYER)
        prepare(folder, arguments.slots)
        for runs in sorted({*arguments.runs, *arguments.without_jobs}):
            clean(folder)
            whole = runs in arguments.runs
            found = planning(folder, runs) + (training(folder, runs, arguments.slots) if whole else [])
            found += reading(folder, runs, ("tables", "report", *(("tracking", "tracking again") if whole else ())))
            for cost in found:
                numbers = f"{cost.seconds:8.1f} s {cost.busy:8.1f} s busy {cost.megabytes:7.0f} MB"
                print(f"{cost.runs:6} {cost.stage:15} {numbers}", flush=True)
            costs += found
    print("\n" + table(costs))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(cost) for cost in costs], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
