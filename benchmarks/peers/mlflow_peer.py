"""MLflow with its tracking database in SQLite, without a server."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from peer import Peer, Row, main

_BATCH = 1000  # the most metrics that it takes at once


class Batched(Peer):
    """MlflowClient.log_batch of 1,000 values; get_metric_history, a key at a time"""

    most_runs = 200

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        self.client = MlflowClient()

    def prepare(self) -> None:
        mlflow.set_experiment("benchmark")

    def start(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name("benchmark")
        run = self.client.create_run(experiment.experiment_id, run_name=name)
        self.run = str(run.info.run_id)
        self.waiting: list[Metric] = []
        return self.run

    def configure(self, config: Row) -> None:
        params = [Param(key, str(value)) for key, value in config.items()]
        self.client.log_batch(self.run, params=params)

    def log(self, step: int, row: Row) -> None:
        now = int(time.time() * 1000)
        self.waiting += [Metric(key, value, now, step) for key, value in row.items()]
        if len(self.waiting) >= _BATCH:
            self.send()

    def send(self) -> None:
        while self.waiting:
            self.client.log_batch(self.run, self.waiting[:_BATCH])
            del self.waiting[:_BATCH]

    def finish(self) -> None:
        self.send()
        self.client.set_terminated(self.run)

    def frame(self, run: str) -> Any:
        columns = {}
        for key in self.client.get_run(run).data.metrics:
            history = self.client.get_metric_history(run, key)
            columns[key] = pd.Series(
                [metric.value for metric in history], [metric.step for metric in history]
            )
        return pd.DataFrame(columns).sort_index()

    def series(self, run: str, key: str) -> Iterable[float]:
        # They come by time of logging, which many of one batch share.
        history = sorted(self.client.get_metric_history(run, key), key=lambda metric: metric.step)
        return [metric.value for metric in history]

    def runs(self) -> Iterable[str]:
        found = mlflow.search_runs(experiment_names=["benchmark"], output_format="list")
        return [run.info.run_id for run in found]

    def lasts(self) -> dict[str, Mapping[str, float]]:
        found = mlflow.search_runs(experiment_names=["benchmark"], output_format="list")
        return {run.info.run_id: run.data.metrics for run in found}

    def listed(self, key: str) -> Iterable[tuple[str, float, float]]:
        found = mlflow.search_runs(experiment_names=["benchmark"], output_format="list")
        return [
            (run.info.run_id, float(run.data.params["lr"]), run.data.metrics[key]) for run in found
        ]

    def filtered(self, key: str, lr: float, below: float) -> Iterable[str]:
        # Params are texts there, which can be compared for equality only.
        found = mlflow.search_runs(
            experiment_names=["benchmark"],
            filter_string=f"params.lr = '{lr}' and metrics.{key} < {below!r}",
            order_by=[f"metrics.{key}"],
            output_format="list",
        )
        return [run.info.run_id for run in found]

    def grouped(self, key: str) -> Mapping[float, float]:
        frame = mlflow.search_runs(experiment_names=["benchmark"])
        means = frame.groupby("params.lr")[f"metrics.{key}"].mean()
        return {float(lr): value for lr, value in means.items()}


class ACallARow(Batched):
    """mlflow.log_metrics, a call a step; get_metric_history, a key at a time"""

    most_values = 10_000
    most_runs = 20

    def start(self, name: str) -> str:
        mlflow.set_experiment("benchmark")
        run = mlflow.start_run(run_name=name)
        return str(run.info.run_id)

    def log(self, step: int, row: Row) -> None:
        mlflow.log_metrics(row, step=step)

    def finish(self) -> None:
        mlflow.end_run()


main({"log_batch": Batched, "log_metrics": ACallARow}, mlflow.__version__)
