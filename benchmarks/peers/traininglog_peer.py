"""We ourselves, by the same measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from peer import Peer, Row, main

import traininglog
from traininglog import SQLiteLog, Store


class Ours(Peer):
    """log[step][key] = value; to_dataframe()"""

    options: ClassVar[dict[str, Any]] = {}
    reads_with = ("traininglog.frames", "traininglog.packing")

    def prepare(self) -> None:
        SQLiteLog(self.folder / "runs.db", **self.options).close()

    def start(self, name: str) -> str:
        self.training_log = SQLiteLog(self.folder / "runs.db", **self.options)
        self.training_log.status["name"] = name
        return self.training_log.h_uuid

    def configure(self, config: Row) -> None:
        self.training_log.status["config"] = config

    def log(self, step: int, row: Row) -> None:
        log = self.training_log
        for key, value in row.items():
            log[step][key] = value

    def finish(self) -> None:
        self.training_log.close()

    def opened(self, run: str) -> SQLiteLog:
        return SQLiteLog(self.folder / "runs.db", run, readonly=True)

    def frame(self, run: str) -> Any:
        return self.opened(run).to_dataframe()

    def series(self, run: str, key: str) -> Iterable[float]:
        values: Iterable[float] = self.opened(run)[:][key]
        return values

    def row(self, run: str, step: int) -> Mapping[str, float]:
        return self.opened(run)[step].copy()  # which asks once, where dict() asks for each key

    def store(self) -> Store:
        return Store(self.folder / "runs.db", readonly=True)

    def lasts(self) -> Any:
        return self.store().runs("*").set_index("uuid").loc

    def bests(self, key: str) -> Any:
        return self.store().runs(best=key).set_index("uuid")[f"best.{key}"]

    def listed(self, key: str) -> Iterable[tuple[str, float, float]]:
        with self.store() as store:
            return [
                (run.uuid.hex, run.config["lr"], run.last[key].value)
                for run in store.iter_runs(key)
                if run.config  # not the run that made the file
            ]

    def filtered(self, key: str, lr: float, below: float) -> Iterable[str]:
        where = f'config.lr == {lr!r} and last["{key}"] < {below!r}'
        with self.store() as store:
            return [run.uuid.hex for run in store.iter_runs(where=where, sort=f'last["{key}"]')]

    def grouped(self, key: str) -> Mapping[float, float]:
        with self.store() as store:
            groups = store.iter_groups("config.lr", key)
            return {group.by["config.lr"]: group.metrics[key].mean for group in groups}

    def long(self, key: str) -> Any:
        return self.store().to_dataframe(keys=key)


class Unsealed(Ours):
    """the same with seal=False: rows for people who live in SQL"""

    options: ClassVar[dict[str, Any]] = {"seal": False}


main({"": Ours, "seal=False": Unsealed}, traininglog.__version__)
