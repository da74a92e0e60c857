"""CelebA and QM9 from raw files to an epoch of training: `python tests/benchmarks/full_data.py --data path/to/mirror`.

Each measurement is a process of its own. Preparation is set beside the least that it must do, one core decoding the
faces or canonicalising the molecules in a bare loop; times are extrapolated to CelebA's 202,599 images by the image.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
IMAGES = 202_599
MEGABYTE = 10**6
BARE = 3000  # faces, or molecules, of the bare loops

MEASURED = """
import json, resource, sys, time
from pathlib import Path
dataset, config, raw, prepared, threads = sys.argv[1:6]
threads = int(threads)
def used():
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
def cpu():
    return sum(u.ru_utime + u.ru_stime for u in used())
def told(**found):
    print(json.dumps(found | {"seconds": time.perf_counter() - start, "busy": cpu() - before}))
"""
PREPARE = """
import torch, torchvision.transforms.v2.functional
from mcvae.data import prepare
start, before = time.perf_counter(), cpu()
prepare(dataset, raw, prepared, {}, threads=threads)
told()
"""
FACES = """
import io, zipfile
from PIL import Image
with zipfile.ZipFile(Path(raw) / "img_align_celeba.zip") as archive:
    names = [name for name in archive.namelist() if name.endswith(".jpg")][:BARE]
    start, before = time.perf_counter(), cpu()
    for name in names:
        with Image.open(io.BytesIO(archive.read(name))) as image:
            image.load()
told(number=len(names))
"""
MOLECULES = """
from rdkit import Chem
texts = (Path(prepared) / "smiles.txt").read_text().split()[:BARE]
start, before = time.perf_counter(), cpu()
for text in texts:
    Chem.MolToSmiles(Chem.MolFromSmiles(text))
told(number=len(texts))
"""
EPOCH = """
import tempfile
from mcvae.config import load_study
from mcvae.grid import plan
from mcvae.training import fit
run = next(run for run in plan(load_study(config), config).runs.values() if run.config.dataset == dataset)
one = run.config.model_copy(update={"training": run.config.training.model_copy(update={"epochs": 1})})
with tempfile.TemporaryDirectory() as folder:
    start, before = time.perf_counter(), cpu()
    fit(one, prepared, folder, threads=threads)
    told(parameters=json.loads((Path(folder) / "training.json").read_text())["parameters"])
"""


def measured(program: str, *arguments: object) -> dict[str, Any]:
    """What a program of a process of its own says of itself, seconds and processor seconds ``busy``, and the largest
    resident ``bytes`` of it and its children together.

    Raises:
        RuntimeError: it failed; with the end of what it said.
    """
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": str(arguments[-1])}
    code = MEASURED + program.replace("BARE", str(BARE))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as errors:
        process, most = psutil.Popen(command, env=environment, stdout=said, stderr=errors), 0
        while process.poll() is None:
            most = max(most, resident(process))
            time.sleep(0.02)
        for file in (said, errors):
            file.seek(0)
        if process.returncode:
            raise RuntimeError(f"{arguments[0]}: {errors.read()[-3000:]}")
        return json.loads(said.read().splitlines()[-1]) | {"bytes": most}


def resident(process: psutil.Process) -> int:
    """Bytes of a process and all its children; shared pages count for each of them."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            total += each.memory_info().rss
    return total


def stages(dataset: str, mirror: str, folder: Path, threads: int) -> dict[str, Any]:
    """Counts of a data set, its preparation, the bare loop on one core, and an epoch of its study's first run."""
    from mcvae.data import fetch

    raw, prepared = fetch(dataset, mirror, folder / "raw" / dataset), folder / "prepared" / dataset
    config = ROOT / "config" / f"{dataset}.yaml"
    preparation = measured(PREPARE, dataset, config, raw, prepared, threads)
    counts = json.loads((prepared / "stats.json").read_text())["counts"]
    disk = sum(path.stat().st_size for path in prepared.iterdir())
    bare = measured(FACES if dataset == "celeba" else MOLECULES, dataset, config, raw, prepared, 1)
    epoch = measured(EPOCH, dataset, config, raw, prepared, threads)
    return {"counts": counts, "disk": disk, "prepare": preparation, "bare": bare, "epoch": epoch}


def rows(dataset: str, found: Mapping[str, Any], threads: int) -> list[tuple[str, float, str]]:
    """(what, value, unit or bar) of a data set, and for CelebA what follows for the full set."""
    counts, preparation, bare, epoch = (found[key] for key in ("counts", "prepare", "bare", "epoch"))
    records = counts.get("images") or counts["rows"]
    ideal = records * bare["seconds"] / bare["number"] / threads
    memory = (preparation["bytes"] / MEGABYTE, epoch["bytes"] / MEGABYTE)
    out = [
        ("preparation", preparation["seconds"], "s" if dataset == "celeba" else "s (<= 40)"),
        ("preparation, processor", preparation["busy"], "s"),
        ("preparation, records", records / preparation["seconds"], "a second" + " (>= 3000)" * (dataset == "celeba")),
        (f"preparation / bare loop on {threads} cores", preparation["seconds"] / ideal, ""),
        ("preparation, memory", memory[0], f"MB (<= {1000 if dataset == 'celeba' else 2000})"),
        ("epoch", epoch["seconds"], "s" if dataset == "celeba" else "s (<= 60)"),
        ("epoch, training records", counts["train"] / epoch["seconds"], "a second, validation's time included"),
        ("epoch, memory", memory[1], "MB (<= 2000)"),
        ("prepared files", found["disk"] / MEGABYTE, "MB"),
    ]
    if dataset == "celeba":
        times = IMAGES / counts["images"]
        out += [
            (f"{IMAGES:,} images, preparation", times * preparation["seconds"], "s, extrapolated"),
            (f"{IMAGES:,} images, epoch", times * epoch["seconds"], "s, extrapolated"),
            (f"{IMAGES:,} images, prepared files", times * found["disk"] / MEGABYTE, "MB, extrapolated"),
        ]
    return out


def main() -> int:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="a local mirror that has the files of CelebA and QM9")
    parser.add_argument("--datasets", nargs="+", default=["celeba", "qm9"], choices=["celeba", "qm9"])
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    with tempfile.TemporaryDirectory(prefix="full-data-") as name:
        for dataset in arguments.datasets:
            found = stages(dataset, arguments.data, Path(name), arguments.threads)
            for what, value, unit in rows(dataset, found, arguments.threads):
                print(f"{dataset:7} {what:45} {value:10,.2f} {unit}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
