"""Trackio, local: a SQLite file a project, with a row of JSON for each step."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson  # Trackio's own reader of JSON
import pandas as pd
import trackio
from peer import Peer, Row, main
from trackio.sqlite_storage import SQLiteStorage

_PROJECT = "benchmark"


class Trackio(Peer):
    """trackio.log; the rows of its database, whose form it documents, read with orjson"""

    def start(self, name: str) -> str:
        self.run = trackio.init(_PROJECT, name=name, auto_log_gpu=False, auto_log_cpu=False)
        return str(self.run.id)

    def configure(self, config: Row) -> None:
        self.run.config.update(config)

    def log(self, step: int, row: Row) -> None:
        self.run.log(row, step=step)

    def finish(self) -> None:
        self.run.finish()

    def rows(self, run: str) -> Iterator[tuple[int, Row]]:
        asked = "SELECT step, metrics FROM metrics WHERE run_id = ? ORDER BY step"
        for step, metrics in self.ask(asked, run):
            yield step, orjson.loads(metrics)

    def ask(self, statement: str, *values: object) -> list[Any]:
        connection = sqlite3.connect(SQLiteStorage.get_project_db_path(_PROJECT))
        found = connection.execute(statement, values).fetchall()
        connection.close()
        return found

    def frame(self, run: str) -> Any:
        found = list(self.rows(run))
        return pd.DataFrame([row for _, row in found], [step for step, _ in found])

    def series(self, run: str, key: str) -> Iterable[float]:
        return [row[key] for _, row in self.rows(run)]

    def row(self, run: str, step: int) -> Row:
        asked = "SELECT metrics FROM metrics WHERE run_id = ? AND step = ?"
        ((metrics,),) = self.ask(asked, run, step)
        row: Row = orjson.loads(metrics)
        return row

    def runs(self) -> Iterable[str]:
        return [str(run.id) for run in trackio.Api().runs(_PROJECT)]

    def configs(self) -> dict[str, Mapping[str, Any]]:
        return {str(run.id): run.config for run in trackio.Api().runs(_PROJECT)}

    def lasts(self) -> dict[str, Any]:
        # SQLite takes the other columns from the row that has the maximum.
        asked = "SELECT run_id, metrics, max(step) FROM metrics GROUP BY run_id"
        return {run: orjson.loads(metrics) for run, metrics, _ in self.ask(asked)}

    def bests(self, key: str) -> Row:
        best: Row = {}
        for run, metrics in self.ask("SELECT run_id, metrics FROM metrics"):
            value = orjson.loads(metrics)[key]
            best[run] = min(value, best.get(run, value))
        return best

    def long(self, key: str) -> Any:
        found = [
            (run, step, orjson.loads(metrics)[key])
            for run, step, metrics in self.ask(
                "SELECT run_id, step, metrics FROM metrics ORDER BY run_id, step"
            )
        ]
        return pd.DataFrame(found, columns=["run", "step", "value"]).set_index("step")


class Bulk(Trackio):
    """SQLiteStorage.bulk_log at the end, all in memory until then; SQLiteStorage.get_logs"""

    volatile = True

    def start(self, name: str) -> str:
        self.name = name
        self.rows_of_run: list[Row] = []
        self.steps: list[int] = []
        return name

    def log(self, step: int, row: Row) -> None:
        self.rows_of_run.append(row)
        self.steps.append(step)

    def finish(self) -> None:
        SQLiteStorage.bulk_log(_PROJECT, self.name, self.rows_of_run, self.steps)

    def rows(self, run: str) -> Iterator[tuple[int, Row]]:
        for row in SQLiteStorage.get_logs(_PROJECT, run):
            yield row["step"], row

    def frame(self, run: str) -> Any:
        return super().frame(run).drop(columns=["step", "timestamp"])


main({"log": Trackio, "bulk_log": Bulk}, trackio.__version__)
