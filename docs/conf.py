"""How Sphinx builds these pages; run by ``make docs``."""

import importlib
import sys
import tomllib
from pathlib import Path

from sphinx.util.logging import getLogger

sys.path.insert(0, str(Path(__file__).parent))

import commands

ROOT = Path(__file__).resolve().parent.parent
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "traininglog"
author = copyright = "the authors of traininglog"  # noqa: A001 - Sphinx asks for this name
release = version = _PROJECT["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["conf.py", "commands.py"]
templates_path: list[str] = []

html_theme = "furo"
html_title = f"traininglog {release}"
html_copy_source = html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# A heading may be linked to, as on pages that show Markdown: [text](page.md#heading).
myst_heading_anchors = 3
myst_enable_extensions = ["deflist"]

# In docstrings a word in backticks is a name; where there is no page of it, it is code.
default_role = "py:obj"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["torch"]  # its inspector is described where PyTorch is not installed
napoleon_google_docstring = True
napoleon_numpy_docstring = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"


#: The modules of which each name in `__all__` is public.
PUBLIC = [
    "traininglog",
    *(f"traininglog.{name}" for name in ("monitors", "loop", "trials", "lenses", "testing")),
]


def _without_fillers(app, what, name, thing, options, lines):
    """Leave out what Python says of each field of a named tuple: nothing."""
    if lines and lines[0].startswith("Alias for field number "):
        lines.clear()


def _with_every_public_name(app, env):
    """Warn of names that are public (see public.md) and are not in the reference."""
    described = set(env.domaindata["py"]["objects"])
    for module in PUBLIC:
        names = {each.rpartition(".")[2] for each in described if each.startswith(f"{module}.")}
        for name in sorted({*importlib.import_module(module).__all__} - names - {"__version__"}):
            getLogger(__name__).warning("%s.%s is public, and not in the reference", module, name)


def setup(app):
    """Add what these pages need beside Sphinx's own."""
    app.connect("env-check-consistency", _with_every_public_name)
    app.connect("autodoc-process-docstring", _without_fillers)
    commands.setup(app)
