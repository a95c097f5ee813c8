"""Writing a report to its file: whole, or not at all."""

from __future__ import annotations

from pathlib import Path

from traininglog import parts


def write(path: str | Path, content: str, *, overwrite: bool = False) -> None:
    """Write a page to a file, which appears when it is whole.

    Raises:
        FileExistsError: There is such a file, and `overwrite` is False.
        OSError: It cannot be written.

    """
    target = Path(path).resolve()
    with parts.making(target) as part:
        part.write_text(content, encoding="utf-8", errors="backslashreplace")
        try:
            parts.put(part, target, replace=overwrite)
        except FileExistsError:
            raise FileExistsError(
                f"{target} exists already: name another file, or say overwrite=True"
            ) from None
