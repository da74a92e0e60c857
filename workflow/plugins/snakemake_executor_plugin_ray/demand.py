"""What a job asks of the cluster: CPUs, GPUs, memory and custom resources, read from Snakemake's resources."""

from __future__ import annotations

from dataclasses import dataclass

from snakemake_interface_common.exceptions import WorkflowError

MEGABYTE = 10**6
TO_BE_DECIDED = "<TBD>"  # what Snakemake says of a resource that depends on files not yet there
WARM = "ray_warm"  # a resource for no worker: 0 asks for a process of the job's own


@dataclass(frozen=True)
class Demand:
    """Resources of one job in Ray's units; hashable, because workers are pooled by it.

    threads -> cpus; `gpu` (whole) or `gpu_milli` (thousandths, below 1000 or whole thousands) -> gpu_milli;
    `mem_mb` -> memory in bytes; `ray_NAME` -> the custom resource NAME.
    """

    cpus: int
    gpu_milli: int = 0
    memory: int = 0
    custom: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, job) -> Demand:
        """The demand of a Snakemake job.

        Raises WorkflowError for a share of a GPU that Ray can't give, and for amounts that are no whole numbers.
        """
        resources = {name: value for name, value in job.resources.items() if isinstance(value, int)}
        gpu_milli = 1000 * resources.get("gpu", 0) + resources.get("gpu_milli", 0)
        if gpu_milli > 1000 and gpu_milli % 1000:
            raise WorkflowError(
                f"Rule {job.name} asks for {gpu_milli} thousandths of a GPU, but a job gets a share of one GPU or "
                "whole GPUs: set gpu_milli to a value up to 1000 or to a multiple of 1000."
            )
        for name, value in job.resources.items():
            if name.startswith("ray_") and not isinstance(value, int) and str(value) != TO_BE_DECIDED:
                raise WorkflowError(f"Rule {job.name} has the resource {name}={value!r}: give a whole number.")
        custom = {
            name[4:]: value
            for name, value in resources.items()
            if name.startswith("ray_") and name != WARM and value > 0
        }
        return cls(
            cpus=max(1, job.threads),
            gpu_milli=gpu_milli,
            memory=resources.get("mem_mb", 0) * MEGABYTE,
            custom=tuple(sorted(custom.items())),
        )

    @property
    def resources(self) -> dict[str, float]:
        """Ray's names and amounts, without those that are zero."""
        amounts = {"CPU": self.cpus, "GPU": self.gpu_milli / 1000, "memory": self.memory} | dict(self.custom)
        return {name: amount for name, amount in amounts.items() if amount > 0}

    @property
    def options(self) -> dict:
        """Keyword arguments for Ray's `.options`."""
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpu_milli / 1000,
            "memory": self.memory or None,
            "resources": dict(self.custom) or None,
        }

    def served_by(self, worker: Demand) -> bool:
        """Whether a worker with these resources may run this job: equal but for memory, of which it may hold more.

        The bound keeps small jobs out of workers that were made for a large one, and whose memory others wait for.
        """
        same = (self.cpus, self.gpu_milli, self.custom) == (worker.cpus, worker.gpu_milli, worker.custom)
        return same and self.memory <= worker.memory <= 2 * self.memory + 1000 * MEGABYTE


def describe(resources: dict[str, float]) -> str:
    """`CPU 2, GPU 0.25, memory 4000 MB`."""
    parts = [
        f"memory {amount / MEGABYTE:.0f} MB" if name == "memory" else f"{name} {amount:g}"
        for name, amount in sorted(resources.items())
    ]
    return ", ".join(parts) or "nothing"
