"""Printing values as strict JSON; see `traininglog.texts` for types that JSON does not have."""

from __future__ import annotations

import json

from traininglog.texts import jsonable
from traininglog.values import StoredValue


def dumps(value: StoredValue, indent: int | None = None) -> str:
    """Return a value as strict JSON in ASCII, which is safe in every terminal and encoding."""
    return json.dumps(jsonable(value), allow_nan=False, indent=indent)


def print_json(value: StoredValue) -> None:
    """Print a value as indented JSON."""
    print(dumps(value, indent=2))  # noqa: T201 - output is what a command is for
