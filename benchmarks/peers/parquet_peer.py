"""A Parquet file a run, by way of pandas and pyarrow: all in memory until the run ends."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow.parquet  # or the first read would wait for it
from peer import Peer, Row, main


class Parquet(Peer):
    """collected in lists, then DataFrame.to_parquet; pandas.read_parquet"""

    volatile = True

    def start(self, name: str) -> str:
        self.path = str(self.folder / f"{name}.parquet")
        self.columns: defaultdict[str, list[float]] = defaultdict(list)
        self.steps: list[int] = []
        return self.path

    def log(self, step: int, row: Row) -> None:
        self.steps.append(step)
        for key, value in row.items():
            self.columns[key].append(value)

    def finish(self) -> None:
        pd.DataFrame(self.columns, index=pd.Index(self.steps, name="step")).to_parquet(self.path)

    def frame(self, run: str) -> Any:
        return pd.read_parquet(run)

    def series(self, run: str, key: str) -> Iterable[float]:
        values: Iterable[float] = pd.read_parquet(run, columns=[key])[key]
        return values

    def row(self, run: str, step: int) -> Row:
        # Parquet keeps the index as a column; a filter reads the row groups that may hold it.
        found = pd.read_parquet(run, filters=[("step", "==", step)])
        row: Row = found.iloc[0].to_dict()
        return row

    def runs(self) -> Iterable[str]:
        return map(str, self.folder.glob("*.parquet"))


main({"": Parquet}, f"pyarrow {pyarrow.__version__}")
