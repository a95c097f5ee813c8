"""Settings: an argument, else the environment, else a TOML file, else the default.

The file is named by ``TRAININGLOG_CONFIG``, else it is ``traininglog.toml`` in the working
directory, else ``~/.config/traininglog/config.toml`` (or under ``$XDG_CONFIG_HOME``)::

    store = "/data/runs.db"
    durability = "process"
    max_value_bytes = 1048576
    max_pending_bytes = 268435456
    on_full = "raise"
    allow_network = false

``allow_network = true`` is unsafe: it lets a database be written on a network file system, where
that can damage it.

In the environment each is ``TRAININGLOG_`` and its name in capitals. A setting that does not exist
is an error that names it, wherever it stands.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from traininglog.errors import ConfigurationError
from traininglog.values import MAX_VALUE_BYTES

PREFIX = "TRAININGLOG_"
FILE_VARIABLE = "TRAININGLOG_CONFIG"

#: What a log may lose; see the README's table.
DURABILITIES = ("buffered", "process", "power")


#: What to do with an assignment when nothing more can be held.
ON_FULL = ("raise", "drop")

MAX_PENDING_BYTES = 2**28


def _store(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a path or URL")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text")
    return value


def _one_of(names: tuple[str, ...]) -> Callable[[object], str]:
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
    # To what a `TrialClient` attaches itself; by default to nothing.
    "project": (None, _text),
    "group": (None, _text),
    "trial": (None, _text),
}


def setting(name: str, argument: Any = None) -> Any:
    """Return the value of a setting, from the first place that has it.

    Raises `ConfigurationError` for a value that the setting cannot take, and for a setting in the
    environment or the file that does not exist.
    """
    return settings(**{name: argument})[name]


def settings(**arguments: Any) -> dict[str, Any]:
    """Return the values of some settings, each as `setting` does; looks only once for them all."""
    environment = _from_environment()
    file, contents = _from_file()
    found = {}
    for name, argument in arguments.items():
        found[name], check = _SETTINGS[name]
        for place, value in (
            (f"the argument {name}", argument),
            (f"the environment variable {PREFIX}{name.upper()}", environment.get(name)),
            (f"{name} in {file}", contents.get(name)),
        ):
            if value is not None:
                try:
                    found[name] = check(value)
                except ValueError as error:
                    raise ConfigurationError(f"{place} must be {error}, not {value!r}") from None
                break
    return found


def _from_environment() -> dict[str, str]:
    found = {
        variable.removeprefix(PREFIX).lower(): value
        for variable, value in os.environ.items()
        if variable.startswith(PREFIX) and variable != FILE_VARIABLE
    }
    _refuse_unknown(found, lambda name: f"the environment variable {PREFIX}{name.upper()}")
    return found


def _from_file() -> tuple[Path, dict[str, Any]]:
    named = os.environ.get(FILE_VARIABLE)
    # Of os.path, as Path raises where there is no home, or where one may not look.
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))  # noqa: PTH111
    places = (
        [Path(named)] if named else [Path("traininglog.toml"), home / "traininglog/config.toml"]
    )
    for place in places:
        if os.path.isfile(place):  # noqa: PTH113
            break
    else:
        if named:
            raise ConfigurationError(f"{FILE_VARIABLE} names {named}, which is not a file")
        return places[0], {}
    import tomllib

    try:
        contents = tomllib.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{place} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{place} is not valid TOML: {error}") from None
    _refuse_unknown(contents, lambda name: f"the setting {name!r} in {place}")
    return place, contents


def _refuse_unknown(found: Mapping[str, Any], describe: Callable[[str], str]) -> None:
    for name in found:
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"{describe(name)} does not exist; there are: {', '.join(_SETTINGS)}"
            )
