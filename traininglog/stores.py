"""The registries of stores by URL, for logs and for trials. Only this module knows all stores.

One registry has the factories of logs, the other the factories of the records of trials. Neither
has a fallback: an unknown scheme is an error.
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
#: ``factory(where, **options)``. `where` is the whole URL.
Factory = Callable[..., Any]

ENTRY_POINTS = "traininglog.stores"

# The attributes of `traininglog.trials.records.Records`, which this module must not import.
_PARTS_OF_RECORDS = (
    "location", "artifacts", "insert", "replace", "get", "select", "new_log", "open_log",
    "resume_log", "ends", "close",
)  # fmt: skip


class Registry:
    """Factories by the scheme of the URLs that they open.

    Args:
        what: What kind of store a URL names, for messages.
        makes: What the factories make, for messages.
        arguments: Example arguments that a factory must take.
        group: The entry point group in which installed packages register factories, or None.
        factories: The factories of this package, by scheme; "" is a path.

    """

    def __init__(
        self,
        what: str,
        makes: str,
        arguments: tuple[Any, ...],
        group: str | None,
        factories: dict[str, Factory],
    ) -> None:
        self._what = what
        self._makes = makes
        self._arguments = arguments
        self._group = group
        self.factories = factories

    def register(self, scheme: str, factory: Factory) -> None:
        """Register a factory for a scheme. A second one for the same scheme replaces the first.

        Raises what `check_registration` raises.
        """
        self.factories[check_registration(scheme, factory, *self._arguments)] = factory

    def find(self, where: str | Path | None) -> tuple[str, str | Path, Factory]:
        """Return the scheme of a URL, the URL, and its factory. None means the configured store.

        Raises `UnknownScheme`, and `ConfigurationError` if an installed package registers something
        that is not a factory.
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
        """Return the factory of an installed package. Raises `ConfigurationError`."""
        try:
            loaded: Factory = plugin.load()
            check_registration(scheme, loaded, *self._arguments)
        except (ImportError, AttributeError, TypeError) as error:
            raise ConfigurationError(
                f"{plugin.value}, which an installed package names for {scheme}:, is no factory of "
                f"{self._makes}: {error}; mend or remove that package"
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
        options: Passed on to the store, for example ``durability="power"``: the options of
            `SQLiteLog`, of which a store in memory takes those that apply to it, or the options of
            a registered store.

    Raises:
        ConfigurationError: The factory that was registered for the scheme makes no log.
        UnknownScheme: The scheme was not registered. There is no fallback.
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
    """Make `open_log` open URLs with this scheme by calling ``factory(where, uuid, **options)``.

    An installed package can register a factory without being imported, by an entry point in the
    group ``traininglog.stores`` with the name of the scheme. A second factory for the same scheme
    replaces the first.

    Raises:
        ConfigurationError: The scheme is that of a store of this package.
        TypeError: The factory cannot be called so.
        ValueError: The scheme is not valid.

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

    URLs are ``memory:``, a path, ``sqlite:///path``, ``file:report.json`` (one JSON document), and
    those with a registered scheme.

    Raises `UnknownScheme`, and `ConfigurationError` if a registered factory makes no records.
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
    """Make `TrialClient` open URLs with this scheme by calling ``factory(where, **options)``.

    The factory returns a `traininglog.trials.records.Records`, which `traininglog.testing` tests. A
    second factory for the same scheme replaces the first.

    Raises:
        ConfigurationError: The scheme is that of a store of this package.
        TypeError: The factory cannot be called so.
        ValueError: The scheme is not valid.

    """
    RECORDS.register(scheme, factory)


def _memory_records(where: str, **options: object) -> Records:
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


#: The factories of logs.
LOGS = Registry(
    "store that is registered",
    "logs",
    ("scheme://place", None),
    ENTRY_POINTS,
    {"": _sqlite_log, "memory": _memory_log, "sqlite": _sqlite_log},
)

#: The factories of the records of trials.
RECORDS = Registry(
    "store for trials",
    "trials",
    ("scheme://place",),
    None,
    {
        "": _sqlite_records,
        "memory": _memory_records,
        "sqlite": _sqlite_records,
        "file": _file_records,
    },
)
