"""Sacred with its file storage observer: a folder a run, the metrics in one JSON file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import sacred
from peer import Peer, Row, main
from sacred import Experiment
from sacred.observers import FileStorageObserver


class Sacred(Peer):
    """Run.log_scalar; its metrics.json"""

    most_runs = 200

    def during(self, name: str, train: Callable[[], None]) -> str:
        observer = FileStorageObserver(self.folder)
        experiment = Experiment(name, save_git_info=False)
        experiment.logger = logging.getLogger("quiet")
        experiment.observers.append(observer)

        @experiment.main  # type: ignore[untyped-decorator]
        def training(_run: Any) -> None:
            self.run = _run
            train()

        experiment.run()
        return str(observer.dir)

    def log(self, step: int, row: Row) -> None:
        for key, value in row.items():
            self.run.log_scalar(key, value, step)

    def metrics(self, run: str) -> Any:
        return json.loads((Path(run) / "metrics.json").read_text(encoding="utf-8"))

    def frame(self, run: str) -> Any:
        return pd.DataFrame(
            {
                key: pd.Series(found["values"], found["steps"])
                for key, found in self.metrics(run).items()
            }
        )

    def series(self, run: str, key: str) -> Iterable[float]:
        values: Iterable[float] = self.metrics(run)[key]["values"]
        return values

    def runs(self) -> Iterable[str]:
        return [str(path.parent) for path in self.folder.glob("*/metrics.json")]


main({"log_scalar": Sacred}, sacred.__version__)
