"""Write the dump of the present schema, with a little of every kind of data, beside this script.

Run it once for every new revision, and never again for that one::

    python tests/schemas/dump.py

`tests/test_schema.py` opens each dump with the package of today and expects `ROWS` and `STATUS` in
it, so that what an older version wrote stays readable.
"""

import json
import sqlite3
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from traininglog import SQLiteLog, Store
from traininglog.sql.tables import REVISION
from traininglog.trials import TrialClient, TrialGroup

PARENT = UUID("00000000-0000-4000-8000-000000000001")

# What the child in every dump sees, apart from the array at time 3.
ROWS = {
    1: {"loss": 0.5, "step": 1},
    2: {
        "none": None,
        "true": True,
        "integer": -(2**63),
        "text": "naïve '; --\n",
        "bytes": b"\x00\xff",
        "list": [1, 2.5, {"a": None}],
        "moment": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC),
        "uuid": PARENT,
        "path": Path("a/b"),
    },
    3: {"loss": 0.25},
}
# What the parent has in a segment, in dumps since revision 0002.
CURVE = {time: time / 7 for time in range(10, 50)}
STATUS = {
    "iterations_done": 3,
    "epochs_done": 1,
    "_epoch_ends": [1],
    "resumed_from": PARENT.hex,
    "name": "dumped",
}


# Of the trial in dumps since revision 0003.
PARAMETERS = {"lr": 0.1, "nested": {"a": [1, True, None]}, "big": 2**70}


def write(path: Path) -> None:
    """Make a store of two runs, a parent and its child, and of a trial with a run of its own."""
    import numpy as np

    with SQLiteLog(path, seal=False) as log:
        log[1].update(loss=0.5, step=1, gone="deleted by the child")
        log[9]["loss"] = 9.0  # past the resume point
        for time, value in CURVE.items():
            log[time]["curve"] = value
        parent = log.uuid
    with SQLiteLog(path, parent, at=1, seal=False) as log:
        del log[1]["gone"]
        log[2].update(ROWS[2])
        log[3]["loss"] = 0.25
        log[3]["array"] = np.arange(6, dtype="int16").reshape(2, 3)
        log.status.update(STATUS)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE runs SET uuid = ? WHERE uuid = ?", (PARENT.hex, parent.hex))
    connection.execute("UPDATE runs SET resumed_from = ? WHERE id = 2", (PARENT.hex,))
    connection.execute("UPDATE runs SET host = 'host', pid = 1, boot_id = NULL, command = 'train'")
    connection.commit()
    connection.close()
    with TrialClient(path) as client:
        client.set_project(name="dumped", description="naïve")
        client.set_group(name="group")
        other = client.store.new_trial_group(TrialGroup("other", "dumped"))
        with client.new_trial(name="trial", version="1", parameters=PARAMETERS) as trial:
            trial.log_metrics(step=3, loss=0.5)
            trial.log_metrics(accuracy=0.75)
            trial.add_tags(tag=1)
        client.store.add_group_trial(other, trial.uid)
    connection = sqlite3.connect(path)
    # Last in the file, the runs above are what every dump has.
    connection.execute("UPDATE runs SET created = 0, command = 'train' WHERE id > 2")
    connection.execute("UPDATE runs SET host = 'host', pid = 1, boot_id = NULL WHERE id > 2")
    connection.execute(
        "UPDATE environments SET record = json_set(record, '$.environment', json(?))",
        (json.dumps({"python": "3.11", "host": "host"}),),
    )
    connection.commit()
    connection.close()
    with Store(path) as store:
        store.seal()


def dump(path: Path) -> str:
    """Return a SQLite file as SQL, its header included."""
    connection = sqlite3.connect(path)
    lines = [
        f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};"
        for name in ("application_id", "user_version")
    ]
    lines += connection.iterdump()
    connection.close()
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(__file__).with_name(f"{REVISION}.sql")
    if target.exists():
        raise SystemExit(f"{target} exists already: what was released is not dumped again")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "runs.db")
        target.write_text(dump(Path(folder) / "runs.db"), encoding="utf-8")
    print(f"wrote {target}")
