"""Runs the workflow as a user does: Snakemake in a process of its own, in a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]

SMALL = {
    "study": "small",
    "experiments": {
        "digits": {
            "dataset": "mnist",
            "latents": ["e2", "h2"],
            "hidden": [[32]],
            "seeds": 1,
            "training": {"epochs": 3, "batch_size": 128},
            "evaluation": {"importance_samples": 5, "images": 50},
        }
    },
}


def environment() -> dict[str, str]:
    """The test's environment with this checkout first on the path, and no more than a thread a process."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "workflow/plugins"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), "OMP_NUM_THREADS": "1"}


class Workspace:
    """A working directory with a study in it."""

    def __init__(self, folder: Path, study: dict):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "study.yaml"
        self.write(study)

    def write(self, study: dict) -> None:
        self.study = study
        self.config.write_text(yaml.safe_dump(study))

    def command(self, *arguments: str, executor: str = "local") -> list[str]:
        base = [
            sys.executable,
            "-m",
            "snakemake",
            "--snakefile",
            str(ROOT / "Snakefile"),
            "--directory",
            str(self.folder),
        ]
        profile = ["--workflow-profile", str(ROOT / "profiles/default"), "--executor", executor, "--cores", "2"]
        return [*base, *profile, f"--configfile={self.config}", *arguments]

    def snakemake(self, *arguments: str, executor: str = "local", check: bool = True) -> str:
        done = subprocess.run(
            self.command(*arguments, executor=executor), capture_output=True, text=True, env=environment(), timeout=300
        )
        output = done.stdout + done.stderr
        assert not check or done.returncode == 0, output[-4000:]
        return output

    def jobs(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule of a dry run."""
        output = self.snakemake("-n", *arguments)
        if "Nothing to be done" in output:
            return {}
        table = output.split("Job stats:")[1]
        return {rule: int(count) for rule, count in re.findall(r"^([a-z_]+) +(\d+)$", table, re.M)}

    def run_folders(self) -> list[Path]:
        return sorted(path.parent for path in self.folder.glob("results/runs/*/*/run.json"))

    def science(self) -> dict[str, bytes]:
        """The bytes of everything that must be equal between equal runs."""
        names = ("run.json", "history.csv", "training.json", "metrics.json", "model.safetensors")
        return {f"{run.name}/{name}": (run / name).read_bytes() for run in self.run_folders() for name in names}
