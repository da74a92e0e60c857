"""The package keeps its shape: imports go one way, and what Snakemake parses stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mcvae"
ORDER = (
    "errors files revision logs signature reach datasets sources yaml_file options presets config toolchain search "
    "gallery grid tables special manifolds distributions families latent models data training evaluation trained "
    "findings plotting tracking export bench doctor cli __main__"
).split()
FOREIGN = {"mlflow": {"tracking"}, "snakemake": set(), "ray": set()}


def module_of(path):
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def imports(path):
    """Top-level names and package modules that a file imports, wherever in the file."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((name.name.split(".")[0], name.name) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(parts[: -node.level]) if node.level else []
            full = ".".join(base + (node.module.split(".") if node.module else []))
            names = [full] if node.module or not node.level else [f"{full}.{name.name}" for name in node.names]
            if full == "mcvae":
                names = [f"mcvae.{name.name}" for name in node.names]
            yield from ((name.split(".")[0], name) for name in names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_those_above_it(path):
    own = module_of(path)
    if own == "__init__":
        return
    for top, full in imports(path):
        if top == "mcvae" and full != "mcvae":
            other = full.split(".")[1]
            if other != "__version__":
                assert ORDER.index(other) <= ORDER.index(own), f"{path.name} imports {full}"
        if top in FOREIGN:
            assert own in FOREIGN[top], f"{path.name} imports {top}"


def test_what_snakemake_parses_imports_no_heavy_library():
    code = (
        "import sys, mcvae.grid, mcvae.cli; mcvae.cli.build_parser();"
        "print([m for m in ('torch', 'numpy', 'pandas', 'mlflow', 'matplotlib', 'sklearn', 'ray') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    assert out.stdout.strip() == "[]"


def test_no_file_is_long_without_a_reason():
    allowed: dict[str, int] = {}
    for path in PACKAGE.rglob("*.py"):
        lines = len(path.read_text().splitlines())
        assert lines <= allowed.get(path.name, 400), f"{path} has {lines} lines"
