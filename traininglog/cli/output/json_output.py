"""Printing values as strict JSON; see `traininglog.plain_json` for what JSON does not have."""

from __future__ import annotations

from traininglog.plain_json import shown_json
from traininglog.values import StoredValue


def print_json(value: StoredValue) -> None:
    """Print a value as indented JSON."""
    print(shown_json(value, indent=2))  # noqa: T201 - output is what a command is for
