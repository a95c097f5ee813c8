"""Aim with its repository in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

import pandas as pd
from aim import Repo, Run
from aim.storage.context import Context
from peer import Peer, Row, main


class Aim(Peer):
    """Run.track of a whole step; the arrays of its sequences"""

    most_values = 200_000
    most_runs = 50

    def prepare(self) -> None:
        Repo(str(self.folder), init=True)

    def opened(self, run: str | None) -> Run:
        # Not read-only even to read: that asks an index which only its server brings up to date.
        return Run(
            run,
            repo=str(self.folder),
            system_tracking_interval=None,
            capture_terminal_logs=False,
        )

    def start(self, name: str) -> str:
        self.run = self.opened(None)
        self.run.name = name
        return str(self.run.hash)

    def configure(self, config: Row) -> None:
        for key, value in config.items():
            self.run[key] = value

    def log(self, step: int, row: Row) -> None:
        self.run.track(row, step=step)

    def finish(self) -> None:
        self.run.close()

    def frame(self, run: str) -> Any:
        columns = {}
        for metric in self.opened(run).metrics():
            steps, (values,) = metric.data.view("val").numpy()
            columns[metric.name] = pd.Series(values, steps)
        return pd.DataFrame(columns)

    def series(self, run: str, key: str) -> Iterable[float]:
        metric = self.opened(run).get_metric(key, Context({}))
        _, (values,) = metric.data.view("val").numpy()
        return iter(values)

    def listed(self, key: str) -> Iterable[tuple[str, float, float]]:
        for name in self.runs():
            run = self.opened(name)
            _, (values,) = run.get_metric(key, Context({})).data.view("val").numpy()
            yield name, run["lr"], float(values[-1])

    def runs(self) -> Iterable[str]:
        return Repo(str(self.folder)).list_all_runs()


main({"": Aim}, version("aim"))
