"""The public API as a user would write it; `make lint` checks that the types agree."""

from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd

from traininglog import (
    Point,
    RunNotFound,
    SQLiteLog,
    Store,
    TrainingLog,
    TrainingLogBase,
    open_log,
    open_store,
    register,
)


def train(log: TrainingLogBase) -> dict[str, Any]:
    for i in range(10):
        log[i]["loss"] = 1.0
        log[i].update(accuracy=0.5)
        log.status["iterations_done"] = i
    log[10] = {"loss": 0.5}
    for time, row in log.items():
        number: int = time
        for key, value in row.items():
            text: str = key
            print(number, text, value)
    return log.state_dict()


def analyse(log: TrainingLogBase) -> float:
    frame: pd.DataFrame = log.to_dataframe(keys=["loss"], layout="wide")
    series: pd.Series[Any] = log[2:5]["loss"]
    last: Point = log.last("loss")
    lowest: int = log.best("loss", mode="min").time
    ancestors: list[tuple[UUID, int | None]] = [(uuid, at) for uuid, at in log.lineage()]
    return float(frame["loss"].mean() + series.mean() + last.value + lowest + len(ancestors))


def main(path: Path) -> None:
    with SQLiteLog(path) as log:
        state = train(log)
        log.resume(at=5)
        log.load_state_dict(state)
        uuid: UUID = log.uuid
    analyse(TrainingLog())
    try:
        SQLiteLog(str(path), uuid, readonly=True, durability="power")
    except RunNotFound as error:
        print(error.code, error)
    with Store(path) as store:
        runs: pd.DataFrame = store.runs(keys="loss", state="finished")
        print(runs, store.size().total, store.check().ok, store.find("ab"))
    open_store(path).close()
    rescued: str | None = Store.repair(path, "new.db").target
    print(rescued)
    open_log("memory:", max_value_bytes=100).close()
    register("mine", lambda where, uuid=None, **options: TrainingLog(uuid))
