"""The version of the code that a trial runs: its script, and the commit of its repository."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from traininglog.plain_files import open_plain

_PATIENCE = 5.0  # seconds for git


def default_version() -> str | None:
    """Return the version of the program that is running; None in an interactive session.

    ``<hash of the main script>`` or ``<hash>-g<commit>``, with ``+<hash of the edits>`` behind it
    where the repository has changes that are not committed.
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
    """Return the commit of the repository that a folder is in, with ``+<hash>`` if it was edited.

    The hash is that of the files that are not as they were committed, so that two edits are two
    versions, and one that is made again is the same. Files that git does not know are left out.
    None where there is no repository, no commit, or no git.
    """
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    if commit is None:
        return None
    version = commit.decode("utf-8", "replace").strip()
    names = _git(folder, "-c", "diff.relative=false", "diff", "--name-only", "-z", "HEAD", "--")
    if names is None:  # it took too long, or the repository is damaged
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
