"""The public API as a user would write it; `make lint` checks that the types agree."""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from traininglog import (
    Durability,
    Layout,
    LogOptions,
    Mode,
    OnFull,
    Outcome,
    Point,
    RunInfo,
    RunNotFound,
    SQLiteLog,
    State,
    Store,
    StoredValue,
    TrainingLog,
    TrainingLogBase,
    Value,
    open_log,
    open_store,
    register,
)
from traininglog.trials import Exist, Trial, TrialClient


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
    SQLiteLog(store=path).close()
    Store(store=path).close()
    open_store(store=path, readonly=True).close()
    open_log(store=path, durability="buffered").close()
    open_log("memory:", max_value_bytes=100).close()
    register("mine", lambda where, uuid=None, **options: TrainingLog(uuid))


def values(log: TrainingLogBase) -> None:
    """Whatever can be stored can be assigned; what cannot be is found by the type checker."""
    log[1]["x"] = np.float32(1)
    log[np.int64(1)]["x"] = np.ones(3)
    log[1]["when"] = datetime.now(UTC)
    log[1].update({"path": Path("a"), "list": [1, None]}, more=b"")
    log[1]["wrong"] = object()  # type: ignore[assignment]
    log.status["wrong"] = lambda: 1  # type: ignore[assignment]
    value: StoredValue = log[1]["x"]
    given: Value = value
    copied: dict[str, StoredValue] = log[1].copy()
    print(given, copied)


def frames(log: TrainingLogBase, store: Store) -> None:
    """Options are named."""
    layout: Layout = "long"
    log.to_dataframe("loss", start=1, stop=5, layout=layout, wall=True)
    log.to_dataframe("loss", 1)  # type: ignore[call-arg]
    log.to_dataframe(layout="broad")  # type: ignore[arg-type]
    log[1:5].to_dataframe("loss", wall=True, index="wall")
    log[1:5].to_arrow(layout="long")
    store.to_dataframe(["ab"], "loss", start=1, layout=layout)
    store.to_dataframe(["ab"], "loss", 1)  # type: ignore[call-arg]
    keys: list[str] = [column.key for column in log.columns("lo*", start=1)]
    by_run: dict[str, list[str]] = {
        run: [column.key for column in columns] for run, columns in store.columns().items()
    }
    print(keys, by_run, store.keys_seen(), log.clock().walls([1]), log.location)


def runs(store: Store) -> list[str]:
    """A list of runs, below any DataFrame."""
    state: State = "finished"
    mode: Mode = "max"
    infos: Iterator[RunInfo] = store.iter_runs("loss", state=state, best={"accuracy": mode})
    store.iter_runs(state="ended")  # type: ignore[arg-type]
    lines = []
    for info in infos:
        last: Point | None = info.last.get("loss")
        best: int | float | None = info.best.get("accuracy")
        parent: UUID | None = info.resumed_from
        created: datetime | None = info.created
        lines.append(f"{info.uuid} {info.name} {last and last.kind} {best} {parent} {created}")
    return lines


def choices(path: Path) -> None:
    """What has few values says which."""
    durability: Durability = "power"
    on_full: OnFull = "drop"
    outcome: Outcome = "failed"
    SQLiteLog(path, durability=durability, on_full=on_full).close(outcome)
    SQLiteLog(path, durability="disk")  # type: ignore[arg-type]
    SQLiteLog(path, on_full="wait")  # type: ignore[arg-type]
    options: LogOptions = {"durability": "process", "seal": False}
    open_log(path, **options).close()
    with Store(path) as store:
        store.log("ab", readonly=True).close()
        store.log("ab", readnly=True)  # type: ignore[call-arg]


@dataclass
class Settings:
    """What a program may have its parameters in."""

    lr: float = 0.1


def trials(path: Path) -> list[Trial]:
    """What a trial is made of is named, and checked."""
    exist: Exist = "get"
    with TrialClient(store=path, readonly=False) as client:
        client.set_project(name="paper", tags={"area": "vision"})
        client.set_group("sweep", description="of learning rates")
        client.new_trial(name="first", exist=exist, parameters=Settings(), tags={"a": 1})
        client.new_trial(parameters=ArgumentParser(), force=True)
        client.new_trial(exist="replace")  # type: ignore[arg-type]
        client.new_trial(nmae="first")  # type: ignore[call-arg]
        client.set_trial(name="first", parameters={"lr": 0.1})
        client.set_trial(nmae="first")  # type: ignore[call-arg]
        client.log_arguments({"lr": 0.1}, show=True)
        frame: pd.DataFrame = client.trial.to_dataframe("loss", layout="long")
        print(frame)
        return client.fetch_trials({"status": "Completed"}, sort="-created", limit=3)
