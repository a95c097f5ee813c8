"""Running notebooks in tests, in a kernel of their own."""

import pytest
from patience import GUARD

#: Settings that say where Jupyter keeps its files: tests set them to folders of their own.
FOLDERS = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR")


def outputs(*sources):
    """Run cells; return what the first one put out."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=GUARD, kernel_name="python3").execute()
    return cells[0].outputs
