"""Print the path of the newest Python of this machine that can run the package, or of the oldest.

Run by ``make newest`` and ``make oldest``::

    python3 tests/pythons.py newest

Whatever calls itself Python is asked for its version, as a command of that name may be there and
not work: pyenv's are, for versions that are installed and not chosen. Early releases do not count:
what the package needs has no wheels for them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

OLDEST = (3, 11)

#: Where Pythons lie besides the folders in PATH.
FOLDERS = (
    Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions",
    Path("~/.local/share/uv/python").expanduser(),
    Path("/opt/python"),
    Path("/opt/hostedtoolcache/Python"),
)

#: Some are built or packaged without what a virtual environment or the package needs.
ASK = "import ensurepip, sqlite3, sys; print(sys.implementation.name, *sys.version_info[:4])"

Version = tuple[int, int]


def candidates() -> list[Path]:
    """Return what may be a Python, the one that runs this first."""
    found = [Path(sys.executable)]
    for folder in map(Path, os.get_exec_path()):
        if folder.is_dir():
            found += sorted(
                file for file in folder.iterdir() if re.fullmatch(r"python3(\.\d+)?", file.name)
            )
    for folder in FOLDERS:
        found += sorted(folder.glob("*/bin/python3")) + sorted(folder.glob("*/*/bin/python3"))
    return found


def version_of(python: Path) -> Version | None:
    """Return the first two numbers of the version of a Python; None: it cannot run the package."""
    try:
        said = subprocess.run(
            [python, "-I", "-c", ASK], capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return None
    if len(said) != 5 or said[0] != "cpython" or said[4] != "final":
        return None
    version = int(said[1]), int(said[2])
    return version if version >= OLDEST else None


def pythons() -> dict[Version, Path]:
    """Return the Pythons of this machine by version; of several the one that is found first."""
    found: dict[Version, Path] = {}
    for python in candidates():
        version = version_of(python)
        if version is not None:
            found.setdefault(version, python)
    return found


def main() -> None:
    (which,) = sys.argv[1:]
    choose = {"newest": max, "oldest": min}[which]
    found = pythons()
    if not found:
        sys.exit("Python {}.{} or newer is needed; none was found".format(*OLDEST))
    print(found[choose(found)])


if __name__ == "__main__":
    main()
