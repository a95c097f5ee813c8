"""Which store a URL means to trials: the one place that knows all of them.

``memory:``; a path or ``sqlite:///path``; ``file:report.json``, one JSON document; and what was
registered. There is no fallback: an unknown scheme is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from traininglog.config import setting
from traininglog.errors import UnknownScheme
from traininglog.schemes import check_scheme, scheme_of, unknown_scheme

#: Makes the records of a store: called as ``factory(where, **options)``, `where` the whole URL.
Factory = Callable[..., Any]


def open_records(where: str | Path | None = None, **options: Any) -> Any:
    """Return the `Records` that a URL names, by default those of the configured store.

    Raises `UnknownScheme`.
    """
    target = where if isinstance(where, Path) else setting("store", where)
    scheme = scheme_of(target, _FACTORIES)
    if scheme not in _FACTORIES:
        known = sorted(f"{name}:" for name in _FACTORIES if name)
        raise unknown_scheme(target, "store for trials", ["a path", *known])
    return _FACTORIES[scheme](target, **options)


def register(scheme: str, factory: Factory) -> None:
    """Let `TrialClient` open URLs with this scheme by calling ``factory(where, **options)``.

    It returns what `traininglog.trials.records.Records` says; `traininglog.testing` tests it.
    """
    name = check_scheme(scheme)
    if not callable(factory):
        raise TypeError(f"a factory is called with a URL; {factory!r} cannot be called")
    _FACTORIES[name] = factory


def _open_memory(where: str, **options: Any) -> Any:
    from traininglog.memory.trials import MemoryTrials

    if where.lower() not in ("memory:", "memory://"):
        raise UnknownScheme(f"a store in memory has no name: use 'memory:', not {where!r}")
    options.pop("readonly", None)
    return MemoryTrials(**options)


def _open_sqlite(where: str | Path, **options: Any) -> Any:
    from traininglog.sqlite.trials import SQLiteTrials

    return SQLiteTrials(where, **options)


def _open_file(where: str, **options: Any) -> Any:
    from traininglog.jsonfile import FileTrials

    path = where.partition(":")[2].removeprefix("//")  # file:a.json, file://a.json, file:///a.json
    if not path or path.endswith("/") or "?" in path:
        raise UnknownScheme(f"name a file: file:report.json or file:///folder/report.json: {where}")
    return FileTrials(Path(path), **options)


_FACTORIES: dict[str, Factory] = {
    "": _open_sqlite,
    "memory": _open_memory,
    "sqlite": _open_sqlite,
    "file": _open_file,
}
