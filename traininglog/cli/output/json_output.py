"""Printing values as strict JSON; `traininglog.texts` says what becomes of what JSON lacks."""

from __future__ import annotations

import json

from traininglog.texts import jsonable
from traininglog.values import StoredValue


def dumps(value: StoredValue, indent: int | None = None) -> str:
    """Return a value as strict JSON in plain ASCII, which no terminal or encoding can garble."""
    return json.dumps(jsonable(value), allow_nan=False, indent=indent)


def print_json(value: StoredValue) -> None:
    """Print a value as indented JSON."""
    print(dumps(value, indent=2))  # noqa: T201 - output is what a command is for
