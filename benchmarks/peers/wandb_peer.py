"""Weights & Biases without its server: offline runs, which are files to upload later."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import wandb
from peer import Peer, Row, main
from wandb.proto.wandb_internal_pb2 import Record

#: Of the file: what stands before the first block, a block, and what stands before a record.
_BEGIN, _BLOCK, _HEAD = 7, 32768, 7


class Offline(Peer):
    """run.log, offline; its own protocol buffers, read record by record"""

    most_runs = 100

    def start(self, name: str) -> str:
        quiet = wandb.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True
        )
        self.run = wandb.init(
            project="benchmark", name=name, mode="offline", dir=self.folder, settings=quiet
        )
        return str(Path(self.run.dir).parent)

    def log(self, step: int, row: Row) -> None:
        self.run.log(row, step=step)

    def finish(self) -> None:
        self.run.finish()

    def history(self, run: str) -> Iterator[Row]:
        """Yield the rows of a run."""
        for content in _records(next(Path(run).glob("*.wandb")).read_bytes()):
            record = Record.FromString(content)
            if record.WhichOneof("record_type") == "history":
                yield {
                    item.key or item.nested_key[0]: json.loads(item.value_json)
                    for item in record.history.item
                }

    def frame(self, run: str) -> Any:
        return pd.DataFrame.from_records(list(self.history(run)), index="_step")

    def runs(self) -> Iterable[str]:
        return map(str, (self.folder / "wandb").glob("offline-run-*"))


class Inspected(Offline):
    """run.log, offline; read by its command `wandb leet inspect --json`"""

    most_values = 100_000

    def history(self, run: str) -> Iterator[Row]:
        command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", run]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                record = json.loads(line)
                if record["type"] == "history":
                    yield record["history"]["item"]


def _records(content: bytes) -> Iterator[bytes]:
    """Yield the records of LevelDB's log format, in which the file is.

    A record begins with a checksum, its length in two bytes, and its kind: whole (1), or the
    first, a middle, or the last part. None begins where a block has no room left for that.
    """
    place, parts = _BEGIN, b""
    while place + _HEAD <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _HEAD:
            place += left
            continue
        length = int.from_bytes(content[place + 4 : place + 6], "little")
        kind = content[place + 6]
        parts += content[place + _HEAD : place + _HEAD + length]
        place += _HEAD + length
        if kind in (1, 4):
            yield parts
            parts = b""


main({"log": Offline, "inspect": Inspected}, wandb.__version__)
