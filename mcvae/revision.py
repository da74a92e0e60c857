"""Which state of the source tree is at work."""

import subprocess
from pathlib import Path


def current_commit(folder: Path) -> str | None:
    """The commit of the working tree around ``folder``, with ``+`` if files have changed since; None without one."""
    try:
        said = [
            subprocess.run(["git", *command], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
            for command in (["rev-parse", "--short=12", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        ]
    except (OSError, subprocess.CalledProcessError):
        return None
    return said[0] + ("+" if said[1] else "")


def code_commit() -> str | None:
    """The commit of the checkout that this package lies in; None where it is installed without one."""
    root = Path(__file__).resolve().parents[1]
    return current_commit(root) if (root / ".git").exists() else None
