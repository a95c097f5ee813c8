"""SQLite by hand, a row and a commit for each value: what people write first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

import pandas as pd
from peer import Peer, Row, main


class Sqlite(Peer):
    """a commit a key, in write-ahead mode without waiting for the disk"""

    most_values = 100_000
    most_runs = 100
    pragmas = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL")

    def connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.folder / "log.db", timeout=60)
        for pragma in self.pragmas:
            connection.execute(pragma)
        return connection

    def prepare(self) -> None:
        connection = self.connect()
        connection.execute(
            "CREATE TABLE log (run TEXT, key TEXT, step INTEGER, value REAL,"
            " PRIMARY KEY (run, key, step)) WITHOUT ROWID"
        )
        connection.close()

    def start(self, name: str) -> str:
        self.connection = self.connect()
        self.name = name
        return name

    def log(self, step: int, row: Row) -> None:
        for key, value in row.items():
            self.connection.execute(
                "INSERT INTO log VALUES (?, ?, ?, ?)", (self.name, key, step, value)
            )
            self.connection.commit()

    def finish(self) -> None:
        self.connection.close()

    def ask(self, statement: str, *values: object) -> list[Any]:
        connection = self.connect()
        found = connection.execute(statement, values).fetchall()
        connection.close()
        return found

    def frame(self, run: str) -> Any:
        columns: dict[str, dict[int, float]] = {}
        asked = "SELECT key, step, value FROM log WHERE run = ? ORDER BY key, step"
        for key, step, value in self.ask(asked, run):
            columns.setdefault(key, {})[step] = value
        return pd.DataFrame(columns)

    def series(self, run: str, key: str) -> Iterable[float]:
        asked = "SELECT value FROM log WHERE run = ? AND key = ? ORDER BY step"
        return [value for (value,) in self.ask(asked, run, key)]

    def row(self, run: str, step: int) -> Row:
        keys = [key for (key,) in self.ask("SELECT DISTINCT key FROM log WHERE run = ?", run)]
        named = ", ".join("?" * len(keys))
        asked = f"SELECT key, value FROM log WHERE run = ? AND step = ? AND key IN ({named})"
        return dict(self.ask(asked, run, step, *keys))

    def lasts(self) -> dict[str, Any]:
        found: dict[str, Row] = {}
        # SQLite takes the other columns from the row that has the maximum.
        asked = "SELECT run, key, value, max(step) FROM log GROUP BY run, key"
        for run, key, value, _ in self.ask(asked):
            found.setdefault(run, {})[key] = value
        return found

    def bests(self, key: str) -> Row:
        return dict(self.ask("SELECT run, min(value) FROM log WHERE key = ? GROUP BY run", key))

    def long(self, key: str) -> Any:
        asked = "SELECT run, step, value FROM log WHERE key = ? ORDER BY run, step"
        found = self.ask(asked, key)
        return pd.DataFrame(found, columns=["run", "step", "value"]).set_index("step")


class Careful(Sqlite):
    """a commit a key, as SQLite comes: each waits for the disk"""

    most_values = 1_000
    most_runs = 2
    pragmas = ()


main({"WAL": Sqlite, "default": Careful}, f"SQLite {sqlite3.sqlite_version}")
