"""``make notebook``: runs latent_spaces.ipynb where it is, on a run of the default study, and keeps what it shows."""

import os
import sys
import tempfile
from pathlib import Path

try:
    import ipykernel  # noqa: F401 (the process that the cells run in)
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError
    from traitlets.config import Config
except ImportError as error:
    sys.exit(f"mcvae: the notebook needs {error.name}: pip install -c constraints.txt -e '.[notebook]'")

from mcvae.files import write_text

NOTEBOOK = Path(__file__).with_name("latent_spaces.ipynb")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main() -> None:
    """Execute every cell and write the notebook whole, or say what the cell that failed said."""
    notebook = nbformat.read(NOTEBOOK, 4)
    where = {"metadata": {"path": str(NOTEBOOK.parent)}}
    with tempfile.TemporaryDirectory(prefix="mcvae-notebook-") as folder:
        # Nothing of a user's own profile, history or running kernels.
        os.environ |= {"IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder, "JUPYTER_CONFIG_DIR": folder}
        local = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/kernel"}})  # files, no ports
        client = NotebookClient(notebook, timeout=600, resources=where, record_timing=False, config=local)
        try:
            client.execute()
        except CellExecutionError as error:
            sys.exit(f"mcvae: {NOTEBOOK.name}: {error.ename}: {error.evalue}")
    notebook.metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    write_text(NOTEBOOK, nbformat.writes(notebook) + "\n")


if __name__ == "__main__":
    main()
