"""Which store a URL means, for logs and for trials. The one place that knows all stores.

There are two registries: of what makes a log of a URL, and of what makes the records of trials. In
neither is there a fallback: an unknown scheme is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, overload
from uuid import UUID

from traininglog.base import TrainingLogBase
from traininglog.config import setting
from traininglog.errors import ConfigurationError, UnknownScheme
from traininglog.log_options import LogOptions, StoreOptions
from traininglog.schemes import BUILT_IN, check_registration, scheme_of, unknown_scheme

if TYPE_CHECKING:
    from traininglog.sqlite.store import Store
    from traininglog.trials.records import Records

#: Makes a log, called as ``factory(where, uuid, **options)``, or the records of trials, called as
#: ``factory(where, **options)``; `where` is the whole URL.
Factory = Callable[..., Any]

ENTRY_POINTS = "traininglog.stores"

# What `traininglog.trials.records.Records` asks for, which is an instrument's and not known here.
_PARTS_OF_RECORDS = (
    "location", "artifacts", "insert", "replace", "get", "select", "new_log", "open_log",
    "resume_log", "ends", "close",
)  # fmt: skip


class Registry:
    """Which scheme is opened by which factory.

    Args:
        what: What the factories stand for, in messages.
        arguments: Such as a factory must take.
        group: The group of entry points by which installed packages bring factories, or None.
        factories: The package's own, by scheme; "" is a path.

    """

    def __init__(
        self,
        what: str,
        arguments: tuple[Any, ...],
        group: str | None,
        factories: dict[str, Factory],
    ) -> None:
        self._what = what
        self._arguments = arguments
        self._group = group
        self.factories = factories

    def register(self, scheme: str, factory: Factory) -> None:
        """Let a factory open URLs with a scheme. Registered again, it is that of the new one.

        Raises what `check_registration` raises.
        """
        self.factories[check_registration(scheme, factory, *self._arguments)] = factory

    def find(self, where: str | Path | None) -> tuple[str, str | Path, Factory]:
        """Return the scheme of a URL, the URL, and what opens it; None is the configured store.

        Raises `UnknownScheme`, and `ConfigurationError` for what an installed package brings that
        is no factory.
        """
        target = where if isinstance(where, Path) else setting("store", where)
        scheme = scheme_of(target, self.factories)
        factory = self.factories.get(scheme)
        plugins = []
        if factory is None and self._group is not None:
            plugins = list(entry_points(group=self._group))
            for plugin in plugins:
                if plugin.name.lower() == scheme and scheme not in BUILT_IN:
                    factory = self._loaded(plugin, scheme)
                    break
        if factory is None:
            names = {name for name in self.factories if name} | {plugin.name for plugin in plugins}
            known = ["a path", *(f"{name}:" for name in sorted(names))]
            raise unknown_scheme(target, self._what, known)
        return scheme, target if scheme == "" else str(target), factory

    def _loaded(self, plugin: EntryPoint, scheme: str) -> Factory:
        """Return the factory that an installed package brings. Raises `ConfigurationError`."""
        try:
            loaded: Factory = plugin.load()
            check_registration(scheme, loaded, *self._arguments)
        except (ImportError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"{plugin.value}, which an installed package names for {scheme}:, is no factory of "
                f"logs: {error}; mend or remove that package"
            ) from error
        return loaded


# -- logs -----------------------------------------------------------------------------------


@overload
def open_log(
    store: str | Path | None = None,
    uuid: UUID | str | None = None,
    **options: Unpack[LogOptions],
) -> TrainingLogBase: ...
@overload
def open_log(
    store: str | Path | None = None, uuid: UUID | str | None = None, **options: object
) -> TrainingLogBase: ...
def open_log(
    store: str | Path | None = None, uuid: UUID | str | None = None, **options: object
) -> TrainingLogBase:
    """Open a log in the store that a URL names.

    Args:
        store: ``"memory:"``, a path, or ``"sqlite:///path"`` (``"sqlite:////absolute/path"``), or
            a URL whose scheme was registered. By default the configured store.
        uuid: The run to open; by default a new one.
        options: Passed on to the store, for example ``durability="power"``: those of `SQLiteLog`,
            of which a store in memory takes the few that it can have, or what a registered store
            takes.

    Raises:
        ConfigurationError: What was registered for the scheme makes no log.
        UnknownScheme: Nobody registered the scheme. There is no fallback.
        RunNotFound: The store does not hold the run.

    >>> open_log("memory:")
    <TrainingLog ... in memory:>
    """
    scheme, target, factory = LOGS.find(store)
    log = factory(target, uuid, **options)
    if not isinstance(log, TrainingLogBase):
        raise ConfigurationError(
            f"what is registered for {scheme}: made a {type(log).__name__}, which is no log: it "
            "has to derive from TrainingLogBase"
        )
    return log


def open_store(
    store: str | Path | None = None,
    *,
    readonly: bool = False,
    create: bool = False,
    allow_network: bool | None = None,
) -> Store:
    """Open all runs of a file: a path or ``"sqlite:///path"``, by default the configured store.

    The options are those of `Store`. Raises `UnknownScheme` for a store that is not one file of
    many runs.
    """
    target = setting("store", store) if not isinstance(store, Path) else store
    scheme = scheme_of(target, LOGS.factories)
    if scheme not in ("", "sqlite"):
        raise unknown_scheme(target, "store of many runs", ["a path", "sqlite:///path"])
    from traininglog.sqlite.store import Store

    return Store(target, readonly=readonly, create=create, allow_network=allow_network)


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
    LOGS.register(scheme, factory)


def _memory_log(where: str, uuid: UUID | str | None = None, **options: Any) -> TrainingLogBase:
    from traininglog.memory import TrainingLog

    _refuse_named_memory(where)
    return TrainingLog(uuid, **options)


def _sqlite_log(
    where: str | Path, uuid: UUID | str | None = None, **options: Any
) -> TrainingLogBase:
    from traininglog.sqlite.file.failures import MEMORY
    from traininglog.sqlite.file.header import locate
    from traininglog.sqlite.log import SQLiteLog

    path = where if isinstance(where, Path) else locate(where)
    return SQLiteLog(MEMORY if path is None else path, uuid, **options)


# -- trials ---------------------------------------------------------------------------------


def open_records(store: str | Path | None = None, **options: Unpack[StoreOptions]) -> Records:
    """Return the `Records` that a URL names, by default those of the configured store.

    ``memory:``; a path or ``sqlite:///path``; ``file:report.json``, one JSON document; and what was
    registered.

    Raises `UnknownScheme`, and `ConfigurationError` where what was registered makes no records.
    """
    scheme, target, factory = RECORDS.find(store)
    records: Records = factory(target, **options)
    missing = [name for name in _PARTS_OF_RECORDS if not hasattr(records, name)]
    if missing:
        raise ConfigurationError(
            f"what is registered for {scheme}: made a {type(records).__name__}, which has no "
            f"{', '.join(missing)}: see traininglog.trials.records.Records"
        )
    return records


def register_records(scheme: str, factory: Factory) -> None:
    """Let `TrialClient` open URLs with this scheme by calling ``factory(where, **options)``.

    It returns what `traininglog.trials.records.Records` says; `traininglog.testing` tests it.
    Registered again, a scheme is that of the new factory.

    Raises:
        ConfigurationError: The scheme is that of a store of this package.
        TypeError: The factory cannot be called so.
        ValueError: The scheme can be no scheme.

    """
    RECORDS.register(scheme, factory)


def _memory_records(where: str, **options: Any) -> Records:
    from traininglog.memory.trials import MemoryTrials

    _refuse_named_memory(where)
    options.pop("readonly", None)
    return MemoryTrials(**options)


def _sqlite_records(where: str | Path, **options: Any) -> Records:
    from traininglog.sqlite.trials import SQLiteTrials

    return SQLiteTrials(where, **options)


def _file_records(where: str, **options: Any) -> Records:
    from traininglog.jsonfile import FileTrials

    path = where.partition(":")[2].removeprefix("//")  # file:a.json, file://a.json, file:///a.json
    if not path or path.endswith("/") or "?" in path:
        raise UnknownScheme(f"name a file: file:report.json or file:///folder/report.json: {where}")
    return FileTrials(Path(path), **options)


def _refuse_named_memory(where: str) -> None:
    if where.lower() not in ("memory:", "memory://"):
        raise UnknownScheme(f"a store in memory has no name: use 'memory:', not {where!r}")


#: What makes logs.
LOGS = Registry(
    "store that is registered",
    ("scheme://place", None),
    ENTRY_POINTS,
    {"": _sqlite_log, "memory": _memory_log, "sqlite": _sqlite_log},
)

#: What makes the records of trials.
RECORDS = Registry(
    "store for trials",
    ("scheme://place",),
    None,
    {
        "": _sqlite_records,
        "memory": _memory_records,
        "sqlite": _sqlite_records,
        "file": _file_records,
    },
)
