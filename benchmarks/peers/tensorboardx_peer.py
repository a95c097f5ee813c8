"""TensorBoard's event files, written by tensorboardX, which needs neither TensorFlow nor torch."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import tensorboardX
from peer import Peer, Row, main
from tensorboardX import SummaryWriter
from tensorboardX.proto.event_pb2 import Event


class TensorboardX(Peer):
    """add_scalar with a queue of 10,000; its own protocol buffers, read record by record"""

    most_values = 200_000
    most_runs = 200
    keeps = 1e-7  # it stores float32
    options: ClassVar[dict[str, int]] = {"max_queue": 10_000}

    def start(self, name: str) -> str:
        self.writer = SummaryWriter(str(self.folder / name), **self.options)
        return str(self.folder / name)

    def log(self, step: int, row: Row) -> None:
        for key, value in row.items():
            self.writer.add_scalar(key, value, step)

    def finish(self) -> None:
        self.writer.close()

    def scalars(self, run: str) -> Iterator[tuple[int, str, float]]:
        """Yield every value of a run: (step, key, value).

        A record is its length in 8 bytes, a checksum in 4, itself, and a checksum in 4.
        """
        for path in sorted(Path(run).glob("events.out.tfevents.*")):
            content, place = path.read_bytes(), 0
            while place < len(content):
                (length,) = struct.unpack_from("<Q", content, place)
                event = Event.FromString(content[place + 12 : place + 12 + length])
                place += length + 16
                step = event.step
                for value in event.summary.value:
                    yield step, value.tag, value.simple_value

    def frame(self, run: str) -> Any:
        columns: dict[str, dict[int, float]] = {}
        for step, key, value in self.scalars(run):
            columns.setdefault(key, {})[step] = value
        return pd.DataFrame(columns)

    def series(self, run: str, key: str) -> Iterable[float]:
        return [value for _, name, value in self.scalars(run) if name == key]

    def row(self, run: str, step: int) -> Row:
        return {key: value for time, key, value in self.scalars(run) if time == step}

    def runs(self) -> Iterable[str]:
        return map(str, self.folder.iterdir())


class AsItComes(TensorboardX):
    """add_scalar, with its own queue of 10; read as the other"""

    most_values = 20_000
    most_runs = 20
    options: ClassVar[dict[str, int]] = {}


main({"queue": TensorboardX, "default": AsItComes}, tensorboardX.__version__)
