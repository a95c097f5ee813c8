"""A file of comma-separated values a run."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from peer import Peer, Row, main


class Csv(Peer):
    """csv.writer, a line a step; pandas.read_csv"""

    keeps = 1e-15  # the fast way in which pandas reads numbers is sometimes off by the last bit

    def start(self, name: str) -> str:
        path = self.folder / f"{name}.csv"
        self.file = path.open("w", newline="", encoding="utf-8")
        self.writer = csv.writer(self.file)
        return str(path)

    def log(self, step: int, row: Row) -> None:
        if step == 1:
            self.writer.writerow(["step", *row])
        self.writer.writerow([step, *row.values()])

    def finish(self) -> None:
        self.file.close()

    def frame(self, run: str) -> Any:
        return pd.read_csv(run, index_col="step")

    def series(self, run: str, key: str) -> Iterable[float]:
        values: Iterable[float] = pd.read_csv(run, index_col="step", usecols=["step", key])[key]
        return values

    def row(self, run: str, step: int) -> Row:
        with Path(run).open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                if int(line.pop("step")) == step:
                    return {key: float(value) for key, value in line.items()}
        raise KeyError(step)

    def runs(self) -> Iterable[str]:
        return map(str, self.folder.glob("*.csv"))


main({"": Csv}, f"pandas {pd.__version__}")
