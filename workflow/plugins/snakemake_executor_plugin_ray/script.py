"""Which jobs may run in a warm worker, and what it is sent: Snakemake's own script text with its preamble."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

from snakemake_interface_executor_plugins.settings import DeploymentMethod, SharedFSUsage

from .demand import WARM


def warm_script(job, workflow) -> Any | None:
    """The Snakemake `PythonScript` of a job that may run in-process, or None if it needs the ordinary job command."""
    if job.is_group() or not job.is_script or _needs_command(job, workflow):
        return None
    from snakemake.script import PythonScript, get_source

    rule = job.rule
    path, source, language, is_local, cache_path = get_source(
        str(rule.script), workflow.sourcecache, rule.basedir, job.wildcards, job.params
    )
    if language != "python" or not is_local:
        return None
    _evaluate_resources(job)
    return PythonScript(
        path=path,
        cache_path=cache_path,
        source=source,
        basedir=rule.basedir,
        input_=job.input._plainstrings(),
        output=job.output._plainstrings(),
        params=job.params,
        wildcards=job.wildcards,
        threads=job.threads,
        resources=job.resources,
        log=job.log._plainstrings(),
        config=rule.run_func.__globals__["config"],  # of the rule's own module, should it come from one
        rulename=rule.name,
        conda_env=None,
        conda_base_path=None,
        container_img=None,
        singularity_args="",
        env_modules=None,
        bench_record=None,
        jobid=job.jobid,
        bench_iteration=None,
        cleanup_scripts=workflow.execution_settings.cleanup_scripts,
        shadow_dir=None,
        is_local=is_local,
        runtime_paths=None,
    )


def request(python_script, job, workflow) -> dict:
    """Prepare the job in the driver (folders, old outputs) and put together what the worker needs."""
    workflow.async_run(job.prepare())
    path = python_script.path
    with _without_ray_on_path():
        preamble = python_script.get_preamble()
    return {
        "kind": "script",
        "source": preamble + python_script.source,
        "name": path.get_filename(),
        "folder": path.get_basedir().get_path_or_uri(secret_free=True),
        "tmpdir": job.resources.get("tmpdir"),
        "keep": not python_script.cleanup_scripts,
    }


@contextlib.contextmanager
def _without_ray_on_path() -> Iterator[None]:
    """Hide the folder of vendored packages that importing Ray put on the driver's path: preambles carry that path."""
    path = sys.path
    sys.path = [entry for entry in path if not entry.endswith(os.path.join("ray", "thirdparty_files"))]
    try:
        yield
    finally:
        sys.path = path


def _needs_command(job, workflow) -> bool:
    """Whether a job with a script uses something that only a Snakemake process of its own provides."""
    from snakemake.io import is_flagged
    from snakemake.shell import shell

    methods = workflow.deployment_settings.deployment_method
    files = [*job.input, *job.output, *job.log]
    shared = workflow.storage_settings.shared_fs_usage
    return bool(
        job.resources.get(WARM, 1) == 0
        or job.benchmark
        or job.is_shadow
        or (workflow.workflow_settings.cache is not None and job.rule.cache)
        or (DeploymentMethod.CONDA in methods and job.conda_env_spec)
        or (DeploymentMethod.APPTAINER in methods and job.container_img_url)
        or (DeploymentMethod.ENV_MODULES in methods and job.env_modules)
        or any(file.is_storage for file in files)
        or any(is_flagged(file, flag) for file in files for flag in ("pipe", "service"))
        or not {SharedFSUsage.INPUT_OUTPUT, SharedFSUsage.SOURCES, SharedFSUsage.PERSISTENCE} <= set(shared)
        or shell._process_prefix
        or shell._process_suffix
        or workflow.remote_execution_settings.precommand
    )


def _evaluate_resources(job) -> None:
    """Give the job its final resources.

    For jobs that run elsewhere, Snakemake leaves `tmpdir` to the process that runs them; here there is none.
    """
    if isinstance(job.resources.get("tmpdir"), str) and not job.resources.get("tmpdir"):  # Snakemake's "<TBD>"
        job._resources = job.rule.expand_resources(job.wildcards_dict, job.input, job.attempt)
