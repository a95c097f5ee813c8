"""The version of the code that a trial runs: its script, and the commit of its repository."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

_PATIENCE = 5.0  # seconds for git


def default_version() -> str | None:
    """Return the version of the program that is running; None in an interactive session.

    ``<hash of the main script>`` or ``<hash>-g<commit>``, with ``+`` behind it where the repository
    has changes that are not committed.
    """
    script = main_script()
    if script is None:
        return None
    version = compute_version([script])[:12]
    commit = git_version(script.parent)
    return version if commit is None else f"{version}-g{commit}"


def main_script() -> Path | None:
    """Return the file that Python was started with, if there is one."""
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    path = None if name is None else Path(name).absolute()
    return path if path is not None and path.is_file() else None


def compute_version(files: Iterable[str | Path]) -> str:
    """Return the sha256 of some files, one after the other, each with its length before it."""
    digest = hashlib.sha256()
    for file in files:
        contents = Path(file).read_bytes()
        digest.update(b"%d:" % len(contents))
        digest.update(contents)
    return digest.hexdigest()


def git_version(folder: str | Path) -> str | None:
    """Return the commit of the repository that a folder is in, with ``+`` if it was changed since.

    None where there is no repository, no commit, or no git.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit.strip() + ("+" if changes is None or changes.strip() else "")


def _git(folder: str | Path, *words: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and all words are ours
            ["git", "-C", str(folder), "--no-optional-locks", *words],  # noqa: S607
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
