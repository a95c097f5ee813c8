"""Opening the store for trials that a command names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from traininglog.cli.mistakes import asking

if TYPE_CHECKING:
    from traininglog.trials.entities import Trial
    from traininglog.trials.store import TrialStore

TrialArgument = Annotated[
    str, typer.Argument(metavar="TRIAL", help="A UID, or the start of its hash, perhaps with _N.")
]

_SHORTEST = 8


@contextmanager
def opened_trials(where: str | None) -> Iterator[TrialStore]:
    """Open a store for reading: a path or a URL, by default the configured one."""
    from traininglog.trial_stores import open_records
    from traininglog.trials.store import TrialStore

    with asking():
        store = TrialStore(open_records(where, readonly=True))
    with store:
        yield store


def short(trial: Trial) -> str:
    """Return a short name of a trial, which `TrialStore.find` takes."""
    return f"{trial.hash[:_SHORTEST]}_{trial.revision}"
