"""A store of one's own: runs in a dict, which a file keeps. The eight methods, and no more."""

import json
import os
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from traininglog import RunNotFound, RunTakenOver
from traininglog.clock import Clock, Marks
from traininglog.columns import Column
from traininglog.encoding import HIDDEN, from_plain_json, to_plain_json
from traininglog.imported import UNKNOWN
from traininglog.journaled import Start, StoredRun
from traininglog.locked_files import FileLock
from traininglog.values import MAX_TIME

GONE = {"deleted": True}


class DictStore:
    """Runs in a dict, by UUID, each with what it was given."""

    most_bytes = 2**20

    def __init__(self, path):
        self.path = Path(path)
        self.location = f"dict:{path}"
        self.spool = self.path.with_name(f"{self.path.name}-spool")

    @contextmanager
    def open(self, *, write=False):
        """Give the dict; with `write` alone, and what was changed is kept in the end."""
        lock = None
        if write:
            lock = FileLock(os.open(f"{self.path}-lock", os.O_RDWR | os.O_CREAT))
            while not lock.acquire():
                pass
        try:
            runs = json.loads(self.path.read_text()) if self.path.exists() else {}
            yield runs
            if write:
                part = self.path.with_name(f"{self.path.name}.part")
                part.write_text(json.dumps(runs))
                part.replace(self.path)
        finally:
            if lock is not None:
                lock.release()

    # -- the sink -----------------------------------------------------------------------------

    def begin(self, birth, *, takeover, patience):
        with self.open(write=True) as runs:
            run = runs.get(birth.uuid.hex)
            if run is None:
                if birth.status is None or (birth.parent and birth.parent.hex not in runs):
                    raise RunNotFound(f"no run {birth.uuid.hex}, or not the one before it")
                run = runs[birth.uuid.hex] = {
                    "parent": birth.parent and birth.parent.hex, "at": birth.at, "epoch": 1,
                    "position": 0, "keys": {}, "rows": {}, "status": coded(birth.status),
                    "marks": {}, "outcome": None, "created": birth.created,
                    "imported": birth.imported is not None,
                }  # fmt: skip
                if birth.imported is not None:
                    run["marks"][str(MAX_TIME)] = UNKNOWN
            elif birth.status is None:
                run["epoch"] += 1
            if run["imported"] and birth.imported is None:
                run["imported"] = False
                del run["marks"][str(MAX_TIME)]
                run["marks"][str(max(map(int, run["rows"]), default=0))] = UNKNOWN
            if birth.ends is not None:
                runs[birth.ends.run.hex]["outcome"] = "finished"
            return Start(run["epoch"], run["position"], run["keys"], decoded(run["status"]))

    def save(self, saving, *, patience):
        with self.open(write=True) as runs:
            run = runs[saving.run.hex]
            if run["epoch"] != saving.epoch:
                raise RunTakenOver(f"run {saving.run.hex} is written by another one")
            run["outcome"] = saving.outcome or run["outcome"]
            if saving.position is not None and saving.position > run["position"]:
                run["position"] = saving.position
                run["keys"] |= {key: number for number, key in saving.batch.names.items()}
                for time, row in saving.rows().items():
                    run["rows"].setdefault(str(time), {}).update(coded(row))
                run["marks"] |= {str(time): wall for time, wall in saving.marks().items()}
            run["status"] = coded(saving.changed(decoded(run["status"])))

    def renew(self, lease, *, durable):
        return None

    def end(self, lease, outcome, *, patience):
        with self.open(write=True) as runs:
            runs[lease.run.hex]["outcome"] = outcome

    # -- the reader ---------------------------------------------------------------------------

    def runs(self, run=None):
        with self.open() as runs:
            for uuid, one in runs.items():
                if run is None or run.hex == uuid:
                    parent = one["parent"] and UUID(one["parent"])
                    yield StoredRun(
                        UUID(uuid), parent, one["at"], one["epoch"], one["position"], one["keys"]
                    )

    def columns(self, run, keys=None):
        with self.open() as runs:
            one = runs[run.hex]
        rows = sorted((int(time), decoded(row)) for time, row in one["rows"].items())
        columns = []
        for key in one["keys"] if keys is None else keys:
            points = [(time, row[key]) for time, row in rows if key in row]
            if points:
                columns.append(Column(key, *map(list, zip(*points, strict=True))))
        return columns

    def status(self, run):
        with self.open() as runs:
            return decoded(runs[run.hex]["status"])

    def clock(self, run):
        with self.open() as runs:
            one = runs[run.hex]
        marks = sorted((int(time), wall) for time, wall in one["marks"].items())
        return Clock(
            one["created"], [Marks(2**62, [time for time, _ in marks], [wall for _, wall in marks])]
        )


def coded(values):
    return {k: GONE if v is HIDDEN else {"is": to_plain_json(v)} for k, v in values.items()}


def decoded(values):
    return {k: HIDDEN if v == GONE else from_plain_json(v["is"]) for k, v in values.items()}


class QuickStore(DictStore):
    """One that tells when nobody has written, so that it is not read again."""

    def version(self, run):
        found = self.path.stat() if self.path.exists() else None
        return found and (found.st_ino, found.st_mtime_ns)
