"""Opening the trial store that a command names, and finding trials in it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from traininglog.cli.mistakes import asking
from traininglog.cli.output.terminal import note

if TYPE_CHECKING:
    from traininglog.trials.entities import Trial
    from traininglog.trials.store import TrialStore

_SHORTEST = 8


@contextmanager
def opened_trials(where: str | None) -> Iterator[TrialStore]:
    """Open a trial store for reading: a path or a URL, by default the configured one."""
    from traininglog.stores import open_records
    from traininglog.trials.store import TrialStore

    with asking():
        store = TrialStore(open_records(where, readonly=True))
    with store:
        yield store


def chosen(store: TrialStore, trial: str | None) -> Trial:
    """Return the trial with this UID or prefix of one, or the latest trial."""
    if trial is not None:
        return store.find(trial)
    latest = store.latest()
    if sys.stderr.isatty():
        note(f"trial {short(latest)}, the latest")
    return latest


def short(trial: Trial) -> str:
    """Return a short name of a trial, which `TrialStore.find` accepts."""
    return f"{trial.hash[:_SHORTEST]}_{trial.revision}"
