"""What an environment has and lacks: for ``mcvae doctor``, and before ``make`` reuses an environment."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

from .toolchain import compiler_problem

# Import name, distribution, and what it is for.
NEEDED = (
    ("torch", "torch", "models"),
    ("numpy", "numpy", "models"),
    ("safetensors", "safetensors", "weights"),
    ("pydantic", "pydantic", "configuration"),
    ("yaml", "pyyaml", "configuration"),
    ("torchvision", "torchvision", "CelebA"),
    ("pandas", "pandas", "QM9, tables"),
    ("sklearn", "scikit-learn", "embedded digits, the logistic probe"),
    ("scipy", "scipy", "tables"),
    ("PIL", "pillow", "embedded faces"),
    ("requests", "requests", "downloads"),
    ("rdkit", "rdkit", "QM9"),
    ("selfies", "selfies", "QM9"),
    ("matplotlib", "matplotlib", "figures"),
    ("jinja2", "jinja2", "report"),
    ("mlflow", "mlflow", "tracking"),
    ("snakemake", "snakemake", "workflow"),
    ("ray", "ray", "workflow"),
    ("psutil", "psutil", "workflow"),
    ("tqdm", "tqdm", "downloads"),
    ("pytest", "pytest", "tests"),
)


def examine(quiet: bool = False) -> int:
    """Print versions and hardware (only what is missing if ``quiet``); return 0, or 1 if something is missing."""
    missing = []
    lines = [f"python       {platform.python_version()} ({sys.executable})", f"cores        {os.cpu_count()}"]
    for module, distribution, purpose in NEEDED:
        if importlib.util.find_spec(module) is None:
            missing.append(distribution)
            lines.append(f"{distribution:12} missing (for {purpose})")
        else:
            lines.append(f"{distribution:12} {importlib.metadata.version(distribution)}")
    if not quiet:
        print("\n".join([*lines, _compiler(), _accelerator()]))
    if missing:
        print(
            f"mcvae: this environment lacks {', '.join(missing)}; install with "
            f"{sys.executable} -m pip install -c constraints.txt -e '.[all,dev]'",
            file=sys.stderr,
        )
    return 1 if missing else 0


def _compiler() -> str:
    problem = compiler_problem()
    return "compiler     there (for training.compile)" if problem is None else f"compiler     missing: {problem}"


def _accelerator() -> str:
    if importlib.util.find_spec("torch") is None:
        return "accelerator  unknown without torch"
    import torch

    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"accelerator  {', '.join(names) or 'none (CPU)'}"
