"""The version of a trial's code: its script, and the commit of its repository."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from traininglog.plain_files import open_plain

_PATIENCE = 5.0  # timeout of a git command in seconds


def default_version() -> str | None:
    """Return the version of the running program, or None in an interactive session.

    It is ``<hash of the main script>`` or ``<hash>-g<commit>``. If the repository has uncommitted
    changes, ``+<hash of the edits>`` follows.
    """
    script = main_script()
    if script is None:
        return None
    version = compute_version([script])[:12]
    commit = git_version(script.parent)
    return version if commit is None else f"{version}-g{commit}"


def main_script() -> Path | None:
    """Return the main script of this process, or None."""
    name = getattr(sys.modules.get("__main__"), "__file__", None)
    path = None if name is None else Path(name).absolute()
    return path if path is not None and path.is_file() else None


def compute_version(files: Iterable[str | Path]) -> str:
    """Return the sha256 of the concatenated files, each prefixed with its length."""
    digest = hashlib.sha256()
    for file in files:
        contents = Path(file).read_bytes()
        digest.update(b"%d:" % len(contents))
        digest.update(contents)
    return digest.hexdigest()


def git_version(folder: str | Path) -> str | None:
    """Return the commit of the repository of a folder, with ``+<hash>`` if it has been edited.

    The hash covers the files that differ from the commit. So two different edits are two versions,
    and the same edit again is the same version. Untracked files are left out. Returns None if there
    is no repository, no commit, or no git.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    version = commit.decode("utf-8", "replace").strip()
    names = _git(folder, "-c", "diff.relative=false", "diff", "--name-only", "-z", "HEAD", "--")
    if names is None:  # git took too long, or the repository is damaged
        return f"{version}+"
    edited = sorted(name for name in names.split(b"\0") if name)
    if not edited:
        return version
    top = _git(folder, "rev-parse", "--show-toplevel")
    if top is None:
        return f"{version}+"
    edits = _hash_of_edits(top.removesuffix(b"\n"), edited)
    return f"{version}+{edits[:8]}"


def _hash_of_edits(top: bytes, names: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for name in names:
        path = Path(os.fsdecode(os.path.join(top, name)))  # noqa: PTH118 - bytes
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                kind, contents = b"link", os.fsencode(path.readlink())
            elif stat.S_ISDIR(mode):  # a repository within this one
                kind, contents = b"repository", (git_version(path) or "").encode()
            elif stat.S_ISREG(mode):
                kind, contents = b"program" if mode & 0o100 else b"file", _digest_of(path)
            else:
                kind, contents = b"other", b""
        except OSError as error:
            gone = isinstance(error, FileNotFoundError | NotADirectoryError)
            kind, contents = b"deleted" if gone else b"unreadable", b""
        for part in (name, kind, contents):
            digest.update(b"%d:" % len(part))
            digest.update(part)
    return digest.hexdigest()


def _digest_of(path: Path) -> bytes:
    with os.fdopen(open_plain(path), "rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _git(folder: str | Path, *words: str) -> bytes | None:
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and all words are ours
            ["git", "-C", str(folder), "--no-optional-locks", *words],  # noqa: S607
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
