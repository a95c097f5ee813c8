"""Settings: an argument, else the environment, else a TOML file, else the default.

``TRAININGLOG_CONFIG`` names the file. Else it is ``traininglog.toml`` in the working directory,
else ``~/.config/traininglog/config.toml`` (or under ``$XDG_CONFIG_HOME``)::

    store = "/data/runs.db"
    durability = "process"
    max_value_bytes = 1048576
    max_pending_bytes = 268435456
    on_full = "raise"
    allow_network = false

``allow_network = true`` is unsafe: it allows writing a database on a network file system, which can
damage it.

In the environment each name is ``TRAININGLOG_`` and the name of the setting in capitals. A setting
that does not exist is an error that names it, in every place. ``~`` at the beginning of a store is
the home folder.

The file in the working directory may come from anybody, as with a cloned repository. So the package
logs once, through `logging`, what that file says of where a run goes and how safely, and the file
may only name a store in its own folder. ``trust_folder = true``, in the user's own file or the
environment, allows it any store, and logs nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from traininglog.errors import ConfigurationError
from traininglog.values import MAX_VALUE_BYTES

PREFIX = "TRAININGLOG_"
FILE_VARIABLE = "TRAININGLOG_CONFIG"

#: The durability of a log; docs/guarantees.md has the table of what each may lose.
Durability = Literal["buffered", "process", "power"]
DURABILITIES: tuple[Durability, ...] = get_args(Durability)

#: What to do with an assignment when nothing more can be held.
OnFull = Literal["raise", "drop"]
ON_FULL: tuple[OnFull, ...] = get_args(OnFull)

MAX_PENDING_BYTES = 2**28


def _store(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a path or URL")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def _one_of(names: Sequence[str]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(map(repr, names))}")
        return str(value)

    return check


def _bytes(value: object) -> int:
    if isinstance(value, str) and value.isdecimal():  # the environment has only text
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("a positive number of bytes")
    return value


def _flag(value: object) -> bool:
    if isinstance(value, str):  # the environment has only text
        value = _FLAGS.get(value.lower(), value)
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


_FLAGS: dict[str, object] = {
    "1": True, "true": True, "yes": True, "on": True,
    "0": False, "false": False, "no": False, "off": False,
}  # fmt: skip

_SETTINGS: dict[str, tuple[Any, Callable[[object], Any]]] = {
    "store": ("traininglog.db", _store),
    "durability": ("process", _one_of(DURABILITIES)),
    "max_value_bytes": (MAX_VALUE_BYTES, _bytes),
    "max_pending_bytes": (MAX_PENDING_BYTES, _bytes),
    "on_full": ("raise", _one_of(ON_FULL)),
    "allow_network": (False, _flag),
    "seal": (True, _flag),
    # Whether a store keeps the command line of a process with the runs and trials that it writes.
    "record_command": (True, _flag),
    # Whether the file in the working directory may name any store.
    "trust_folder": (False, _flag),
    # The records to which a `TrialClient` attaches itself; by default none.
    "project": (None, _text),
    "group": (None, _text),
    "trial": (None, _text),
}


def setting(name: str, argument: object = None) -> Any:
    """Return the value of a setting, from the first place that has it.

    Raises `ConfigurationError` for a value that the setting cannot take, and for a setting in the
    environment or the file that does not exist.
    """
    return settings(**{name: argument})[name]


def settings(**arguments: object) -> dict[str, Any]:
    """Return the values of some settings, each as `setting` does, and read the places only once."""
    environment = _from_environment()
    file, contents = _from_file()
    foreign = file is _HERE and bool(contents) and not _trusts_folder(environment)
    found = {}
    chosen = {}
    for name, argument in arguments.items():
        found[name], check = _SETTINGS[name]
        places = (
            (f"the argument {name}", argument),
            (f"the environment variable {PREFIX}{name.upper()}", environment.get(name)),
            (f"{name} in {file}", contents.get(name)),
        )
        number, (place, value) = next(
            ((number, each) for number, each in enumerate(places) if each[1] is not None),
            (None, ("", None)),
        )
        if number is None:
            continue
        try:
            found[name] = check(value)
        except ValueError as error:
            raise ConfigurationError(f"{place} must be {error}, not {value!r}") from None
        if foreign and number == 2:
            chosen[name] = value
            if name == "store":
                _refuse_elsewhere(found[name])
        if name == "store" and number > 0:
            found[name] = _expanded(found[name])
    if foreign:
        _tell_once({name: chosen[name] for name in _TOLD if name in chosen})
    return found


# -- the working directory ------------------------------------------------------------------

_HERE = Path("traininglog.toml")

# The settings that decide where a run goes, and how safely.
_TOLD = ("store", "durability", "on_full", "allow_network")

_REMEDY = "trust_folder = true in your own configuration, or TRAININGLOG_TRUST_FOLDER=1, allows it"

_LONGEST = 2**20  # bytes of a file

# The messages that were logged, so that each is logged once.
_KNOWN: set[str] = set()


def _trusts_folder(environment: Mapping[str, str]) -> bool:
    value: object = environment.get("trust_folder")
    where = f"the environment variable {PREFIX}TRUST_FOLDER"
    if value is None:
        place = _home()
        value = _contents_of(place).get("trust_folder", False) if _is_file(place) else False
        where = f"trust_folder in {place}"
    try:
        return _flag(value)
    except ValueError as error:
        raise ConfigurationError(f"{where} must be {error}, not {value!r}") from None


def _refuse_elsewhere(store: str) -> None:
    """Raise `ConfigurationError` unless a store is a file in the working directory."""
    folder = Path.cwd()
    place = f"store in {folder / _HERE} is {store!r}"
    if store.lower() == ":memory:" or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", store):
        raise ConfigurationError(f"{place}, and a folder names a file in it only: {_REMEDY}")
    try:
        named = (folder / _expanded(store)).resolve()
        # For links that lead to each other, newer Pythons return the link.
        inside = named.is_relative_to(folder.resolve()) and not _some_link(named)
    except (OSError, ValueError, RuntimeError):  # a NUL, or links that lead to each other
        inside = False
    if not inside:
        raise ConfigurationError(f"{place}, which is not in that folder: {_REMEDY}")


def _some_link(path: Path) -> bool:
    """Return whether a path, or a folder on its way, is still a link."""
    return any(each.is_symlink() for each in (path, *path.parents))


def _tell_once(chosen: Mapping[str, object]) -> None:
    told = ", ".join(f"{name} = {value!r}" for name, value in chosen.items())
    place = Path.cwd() / _HERE
    if chosen and f"{place}: {told}" not in _KNOWN:
        _KNOWN.add(f"{place}: {told}")
        import logging

        logging.getLogger("traininglog").warning("%s says: %s", place, told)


def _expanded(store: str) -> str:
    """Return a store with the home folder in the place of ``~``."""
    scheme = "sqlite:///" if store.lower().startswith("sqlite:///~") else ""
    path = store[len(scheme) :]
    return scheme + os.path.expanduser(path) if path.startswith("~") else store  # noqa: PTH111


def _from_environment() -> dict[str, str]:
    found = {
        variable.removeprefix(PREFIX).lower(): os.environ[variable]
        for variable in os.environ  # not its items: each value would be decoded
        if variable.startswith(PREFIX) and variable != FILE_VARIABLE
    }
    _refuse_unknown(found, lambda name: f"the environment variable {PREFIX}{name.upper()}")
    return found


def _from_file() -> tuple[Path, dict[str, Any]]:
    named = os.environ.get(FILE_VARIABLE)
    places = [Path(os.path.expanduser(named))] if named else [_HERE, _home()]  # noqa: PTH111
    for place in places:
        if _is_file(place):
            break
    else:
        if named:
            raise ConfigurationError(f"{FILE_VARIABLE} names {named}, which is not a file")
        return places[0], {}
    contents = _contents_of(place)
    if place is _HERE and "trust_folder" in contents:
        raise ConfigurationError(
            f"trust_folder in {place} says nothing: no folder can say that it is to be trusted"
        )
    return place, contents


def _home() -> Path:
    """Return the path of the user's own file."""
    # By os.path: Path raises if there is no home, or if this user may not read it.
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
    return Path(home) / "traininglog/config.toml"


def _is_file(place: Path) -> bool:
    return os.path.isfile(place)  # noqa: PTH113 - it raises nothing


def _contents_of(place: Path) -> dict[str, Any]:
    import tomllib

    try:
        with place.open("rb") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ConfigurationError(f"{place} is longer than any configuration: {_LONGEST} bytes")
        contents = tomllib.loads(text.decode())
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{place} is not valid TOML: {error}") from None
    _refuse_unknown(contents, lambda name: f"the setting {name!r} in {place}")
    return contents


def _refuse_unknown(found: Mapping[str, object], describe: Callable[[str], str]) -> None:
    for name in found:
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"{describe(name)} does not exist; there are: {', '.join(_SETTINGS)}"
            )
