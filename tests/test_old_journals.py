"""Journals of older versions are put back, and records that took others' places are not."""

import base64
import contextlib
import math
import sqlite3
import struct
import zlib
from pathlib import Path
from uuid import UUID

import pytest

from traininglog import SQLiteLog, Store, TrainingLogWarning
from traininglog.journal import bulk as numbers
from traininglog.journal.journal import Journal
from traininglog.journal.reader import damaged_beside, journal_path, read_journal
from traininglog.journal.record import FLOAT_HEAD, RowForm, pack_entries, pack_float, pack_row
from traininglog.journal.region import HEADER, MAGIC, UNCOUNTED
from traininglog.journal.rest import read_rest

FOLDER = Path(__file__).parent / "journals"


@pytest.fixture
def left(tmp_path):
    """Return a database beside which a killed process of version 0.1.0 left its journal."""
    path = tmp_path / "runs.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript((FOLDER / "tail3.sql").read_text(encoding="utf-8"))
    name, *lines = (FOLDER / "tail3.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / name).write_bytes(zlib.decompress(base64.b64decode("".join(lines))))
    return path


@pytest.mark.parametrize("many", [1, 10**9], ids=["as arrays", "one by one"])
def test_a_journal_whose_records_are_not_counted_is_put_back(left, many, monkeypatch):
    monkeypatch.setattr(numbers, "_MANY", many)
    (journal,) = left.parent.glob("runs.db-tail-*")
    assert journal.read_bytes().startswith(UNCOUNTED)
    with Store(left) as store:
        assert store.check().problems == []
        with store.log(store.latest()) as log:
            rows = log.to_dict()
            assert math.isnan(rows[3].pop("loss"))
            wanted = {
                t: {"loss": t / 7, "acc": t / 3, "n": t} for t in range(300) if t not in (2, 3)
            }
            wanted[0]["loss"] = 0.5
            wanted[1] |= {"note": "é", "shape": [1, None]}
            wanted |= {2: {"acc": 2 / 3, "n": 2}, 3: {"acc": 1.0, "n": 3}, 300: {"loss": 300 / 7}}
            assert rows == wanted
            assert log.status["iterations_done"] == 300
            assert log.status["best"] == 0.25
            log[301]["loss"] = 1.0
    assert not list(left.parent.glob("*-tail-*"))


@pytest.mark.parametrize("many", [1, 10**9], ids=["as arrays", "one by one"])
@pytest.mark.parametrize("kind", ["number", "row", "entries"])
@pytest.mark.parametrize(("source", "target"), [(7, 8), (8, 7), (299, 298), (0, 299), (299, 300)])
def test_a_record_that_was_copied_over_its_neighbour_is_damage(
    tmp_path, monkeypatch, many, kind, source, target
):
    """What is put back is a prefix: neither the copy, nor what comes after it."""
    monkeypatch.setattr(numbers, "_MANY", many)
    uuid = UUID(int=1)
    path = journal_path(tmp_path / "runs.db", uuid, 3)
    journal = Journal(path, tmp_path, uuid, 3, 1000, {}, 2**28)
    journal.begin()
    tail = journal.tail
    form = RowForm.of([FLOAT_HEAD + 1, FLOAT_HEAD + 2])
    head = FLOAT_HEAD + 1
    for at in range(300):
        tag = next(tail.tags)
        if kind == "number":
            record = pack_float(head, at, at / 7, at / 7, at, head, tag)
        elif kind == "row":
            record = pack_row(form, at, [at / 7, at / 3], tag)
        else:
            record = pack_entries([(at, 1, f"text {at:03}")], tag)
        tail.write(record)
    size = len(record)
    journal.rest()
    content = bytearray(path.read_bytes())
    assert content.startswith(MAGIC)
    one, two = (HEADER + at * size for at in (source, target))
    content[two : two + size] = content[one : one + size]
    path.write_bytes(content)
    found = read_rest(read_journal(path), 1000)
    assert found.damage == "is damaged"
    assert sorted(found.batch.rows) == list(range(target))
    assert found.end == 1000 + target * size
    journal.remove()


def test_it_is_said_when_the_store_is_opened(tmp_path, left):
    """And the journal is kept."""
    with Store(left) as store:
        uuid = store.latest()
    log = SQLiteLog(left, uuid)
    for at in range(1000, 1100):
        log[at]["loss"] = at / 7
    log._writer.owner.drop(log._writer)
    (journal,) = left.parent.glob("runs.db-tail-*")
    content = bytearray(journal.read_bytes())
    copy = tmp_path / "copy"
    copy.mkdir()
    with Store(left) as store:
        store.backup(copy / "runs.db")
    at = content.index(struct.pack("<IQd", FLOAT_HEAD + 1, 1050, 1050 / 7))
    content[at : at + 44] = content[at + 44 : at + 88]
    (copy / journal.name).write_bytes(content)
    log.close()
    with contextlib.closing(sqlite3.connect(copy / "runs.db")) as connection:
        connection.execute("UPDATE runs SET boot_id = 'another'")
        connection.commit()
    with pytest.warns(TrainingLogWarning, match="is damaged: the rest of what was assigned last"):
        store = Store(copy / "runs.db")
    with store, store.log(uuid, readonly=True) as again:
        assert list(again)[-1] == 1049
    assert len(damaged_beside(copy / "runs.db")) == 1
