"""Which store a URL means to trials: the one place that knows all of them.

``memory:``; a path or ``sqlite:///path``; ``file:report.json``, one JSON document; and what was
registered. There is no fallback: an unknown scheme is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from traininglog.config import setting
from traininglog.errors import ConfigurationError, UnknownScheme
from traininglog.log_options import StoreOptions
from traininglog.schemes import check_registration, scheme_of, unknown_scheme

if TYPE_CHECKING:
    from traininglog.trials.records import Records

#: Makes the records of a store: called as ``factory(where, **options)``, `where` the whole URL.
Factory = Callable[..., "Records"]

# What `traininglog.trials.records.Records` asks for, which is an instrument's and not known here.
_PARTS = (
    "location", "artifacts", "insert", "replace", "get", "select", "new_log", "open_log",
    "resume_log", "ends", "close",
)  # fmt: skip


def open_records(store: str | Path | None = None, **options: Unpack[StoreOptions]) -> Records:
    """Return the `Records` that a URL names, by default those of the configured store.

    Raises `UnknownScheme`, and `ConfigurationError` where what was registered makes no records.
    """
    target = store if isinstance(store, Path) else setting("store", store)
    scheme = scheme_of(target, _FACTORIES)
    if scheme not in _FACTORIES:
        known = sorted(f"{name}:" for name in _FACTORIES if name)
        raise unknown_scheme(target, "store for trials", ["a path", *known])
    records = _FACTORIES[scheme](target, **options)
    missing = [name for name in _PARTS if not hasattr(records, name)]
    if missing:
        raise ConfigurationError(
            f"what is registered for {scheme}: made a {type(records).__name__}, which has no "
            f"{', '.join(missing)}: see traininglog.trials.records.Records"
        )
    return records


def register(scheme: str, factory: Factory) -> None:
    """Let `TrialClient` open URLs with this scheme by calling ``factory(where, **options)``.

    It returns what `traininglog.trials.records.Records` says; `traininglog.testing` tests it.
    Registered again, a scheme is that of the new factory.

    Raises:
        ConfigurationError: The scheme is that of a store of this package.
        TypeError: The factory cannot be called so.
        ValueError: The scheme can be no scheme.

    """
    _FACTORIES[check_registration(scheme, factory, "scheme://place")] = factory


def _open_memory(where: str, **options: object) -> Records:
    from traininglog.memory.trials import MemoryTrials

    if where.lower() not in ("memory:", "memory://"):
        raise UnknownScheme(f"a store in memory has no name: use 'memory:', not {where!r}")
    options.pop("readonly", None)
    return MemoryTrials(**options)


def _open_sqlite(where: str | Path, **options: Any) -> Records:
    from traininglog.sqlite.trials import SQLiteTrials

    return SQLiteTrials(where, **options)


def _open_file(where: str, **options: Any) -> Records:
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
