"""Print the oldest releases that pyproject.toml allows, as constraints for pip.

Run by ``make oldest``: of everything that the package and its extras ask for, the lower bound is
what is tested. A bound without a test is a guess.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

#: What is not installed for the tests that run with the oldest: PyTorch is a download of gigabytes,
#: and the tools of `lint` and `docs` are not used by them.
LEFT_OUT = {"lenses", "lint", "docs"}


def requirements(project: dict[str, Any]) -> Iterator[str]:
    """Give every requirement of the package and its extras, but for its own extras."""
    yield from project["dependencies"]
    for extra, wanted in project["optional-dependencies"].items():
        if extra not in LEFT_OUT:
            yield from (each for each in wanted if not each.startswith(f"{project['name']}["))


def constraint(requirement: str) -> str:
    """Return a requirement's lower bound as a constraint.

    >>> constraint("numpy>=1.26,<3")
    'numpy==1.26'
    """
    found = re.fullmatch(r"([\w.-]+)>=([\w.]+)(,<[\w.]+)?", requirement)
    if found is None:
        raise ValueError(f"{requirement!r} has no lower bound; write name>=version,<version")
    return f"{found[1]}=={found[2]}"


def constraints() -> list[str]:
    """Return all of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return sorted(map(constraint, requirements(project)))


if __name__ == "__main__":
    print(*constraints(), sep="\n")
