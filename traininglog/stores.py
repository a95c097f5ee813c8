"""`open_log` and `open_store`: which store a URL means. The one place that knows all of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.config import setting
from traininglog.errors import ConfigurationError, UnknownScheme
from traininglog.schemes import BUILT_IN, check_registration, scheme_of, unknown_scheme

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store

#: Makes a log: called as ``factory(where, uuid, **options)``, `where` being the whole URL.
Factory = Callable[..., TrainingLogBase]

ENTRY_POINTS = "traininglog.stores"

# Such as a factory must take.
_CALLED_WITH = ("scheme://place", None)


def open_log(
    where: str | Path | None = None, uuid: UUID | str | None = None, **options: Any
) -> TrainingLogBase:
    """Open a log in the store that a URL names.

    Args:
        where: ``"memory:"``, a path, or ``"sqlite:///path"`` (``"sqlite:////absolute/path"``), or
            a URL whose scheme was registered. By default the configured store.
        uuid: The run to open; by default a new one.
        options: Passed on to the store, for example ``durability="power"``.

    Raises:
        ConfigurationError: What was registered for the scheme makes no log.
        UnknownScheme: Nobody registered the scheme. There is no fallback.
        RunNotFound: The store does not hold the run.

    >>> open_log("memory:")
    <TrainingLog ... in memory:>
    """
    target = setting("store", where) if not isinstance(where, Path) else where
    scheme = scheme_of(target, _FACTORIES)
    log = _factory(scheme, target)(target if scheme == "" else str(target), uuid, **options)
    if not isinstance(log, TrainingLogBase):
        raise ConfigurationError(
            f"what is registered for {scheme}: made a {type(log).__name__}, which is no log: it "
            "has to derive from TrainingLogBase"
        )
    return log


def open_store(where: str | Path | None = None, **options: Any) -> Store:
    """Open all runs of a file: a path or ``"sqlite:///path"``, by default the configured store.

    Raises `UnknownScheme` for a store that is not one file of many runs.
    """
    target = setting("store", where) if not isinstance(where, Path) else where
    scheme = scheme_of(target, _FACTORIES)
    if scheme not in ("", "sqlite"):
        raise unknown_scheme(target, "store of many runs", ["a path", "sqlite:///path"])
    from traininglog.sqlite.store import Store

    return Store(target, **options)


def register(scheme: str, factory: Factory) -> None:
    """Let `open_log` open URLs with this scheme by calling ``factory(where, uuid, **options)``.

    An installed package can do it without being imported, with an entry point in the group
    ``traininglog.stores`` that is named for its scheme. Registered again, a scheme is that of the
    new factory.

    Raises:
        ConfigurationError: The scheme is that of a store of this package.
        TypeError: The factory cannot be called so.
        ValueError: The scheme can be no scheme.

    """
    _FACTORIES[check_registration(scheme, factory, *_CALLED_WITH)] = factory


def _open_memory(where: str, uuid: UUID | str | None = None, **options: Any) -> TrainingLogBase:
    from traininglog.memory import TrainingLog

    if where.lower() not in ("memory:", "memory://"):
        raise UnknownScheme(f"a store in memory has no name: use 'memory:', not {where!r}")
    return TrainingLog(uuid, **options)


def _open_sqlite(
    where: str | Path, uuid: UUID | str | None = None, **options: Any
) -> TrainingLogBase:
    from traininglog.sqlite.failures import MEMORY
    from traininglog.sqlite.file import locate
    from traininglog.sqlite.log import SQLiteLog

    path = where if isinstance(where, Path) else locate(where)
    return SQLiteLog(MEMORY if path is None else path, uuid, **options)


def _factory(scheme: str, where: str | Path) -> Factory:
    factory = _FACTORIES.get(scheme)
    if factory is not None:
        return factory
    plugins = entry_points(group=ENTRY_POINTS)
    for plugin in plugins:
        if plugin.name.lower() == scheme and scheme not in BUILT_IN:
            return _loaded(plugin, scheme)
    known = sorted({name for name in _FACTORIES if name} | {plugin.name for plugin in plugins})
    raise unknown_scheme(where, "store that is registered", ["a path", *(f"{n}:" for n in known)])


def _loaded(plugin: EntryPoint, scheme: str) -> Factory:
    """Return the factory that an installed package brings. Raises `ConfigurationError`."""
    try:
        loaded: Factory = plugin.load()
        check_registration(scheme, loaded, *_CALLED_WITH)
    except (ImportError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{plugin.value}, which an installed package names for {scheme}:, is no factory of "
            f"logs: {error}; mend or remove that package"
        ) from error
    return loaded


_FACTORIES: dict[str, Factory] = {
    "": _open_sqlite,
    "memory": _open_memory,
    "sqlite": _open_sqlite,
}
