"""Files that somebody has made up, beside a store and inside it; and what the commands say to them.

A case is a kind and a number, from which all chance in it follows. `craft` changes a copy of a
folder with a sound store; `look` runs the command line there, in a process that counts what it
uses. Checksums are right, headers are right, only what they vouch for was never written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import socket
import sqlite3
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

NAME = "runs.db"

#: What one command may use, and all of them: seconds of the processor, and bytes of memory.
MOST_SECONDS, MOST_BYTES = 2.0, 200 * 2**20

#: What a process has imported before it looks.
IMPORTS = """
import gc, logging, numpy, pandas, sqlalchemy, typer, rich.table
import traininglog.cli.app, traininglog.frames, traininglog.packing, traininglog.sqlite.store
import traininglog.sqlite.repair.repair, traininglog.trials, traininglog.stores
import traininglog.cli.commands.export, traininglog.cli.output.formats
from faults import crafted
"""

Change = Callable[[Path, random.Random], None]

_KINDS: dict[str, tuple[Change, int]] = {}


def kind(cases: int) -> Callable[[Change], Change]:
    """Register what makes the cases of a kind, and how many there are."""

    def register(change: Change) -> Change:
        _KINDS[change.__name__] = change, cases
        return change

    return register


def cases() -> list[tuple[str, int]]:
    """Return all cases: one of each kind first, then the second of each, and so on."""
    most = max(count for _, count in _KINDS.values())
    return [
        (name, number)
        for number in range(most)
        for name, (_, count) in _KINDS.items()
        if number < count
    ]


def craft(folder: Path, name: str, number: int) -> None:
    """Change what is in a folder."""
    change, _ = _KINDS[name]
    change(folder, random.Random(f"{name} {number}"))


# -- a sound store ----------------------------------------------------------------------------


def prepare(folder: Path) -> None:
    """Make the store that all cases begin with; its last writer ends without a word."""
    from traininglog import SQLiteLog
    from traininglog.trials import TrialClient

    folder.mkdir()
    path = folder / NAME
    with SQLiteLog(path) as log:
        for at in range(3000):
            log[at].update(loss=1 / (at + 1), step=at)
        log[7]["note"] = "text"
        log[8]["list"] = [1, {"a": None}]
        log.status["name"] = "parent"
    with SQLiteLog(path, log.uuid, at=1000) as child:
        child[1001]["loss"] = 0.25
        del child[5]["loss"]
    (folder / "kept.txt").write_text("kept")
    with TrialClient(path) as client:
        client.set_project(name="p")
        trial = client.new_trial(name="trial", parameters={"a": 1})
        with trial:
            trial.log_metrics(loss=0.5)
            trial.log_file(folder / "kept.txt")
    killed = SQLiteLog(path)
    for at in range(300):
        killed[at].update(loss=0.5, word=str(at))
    killed.flush()
    for at in range(300, 400):
        killed[at].update(loss=0.5, word=str(at))
    os._exit(0)


def _path(folder: Path) -> Path:
    return folder / NAME


def _change(folder: Path, *statements: Any) -> None:
    """Change the store as anybody can who has SQLite."""
    with contextlib.closing(sqlite3.connect(_path(folder), isolation_level=None)) as connection:
        for statement in statements:
            text, *values = (statement,) if isinstance(statement, str) else statement
            connection.execute(text, values)


def _rows(folder: Path, statement: str) -> list[Any]:
    with contextlib.closing(sqlite3.connect(_path(folder))) as connection:
        return connection.execute(statement).fetchall()


def _run(folder: Path, draw: random.Random) -> tuple[int, str, int, int]:
    """Return number, UUID, epoch and high-water mark of one of the runs."""
    return draw.choice(_rows(folder, "SELECT id, uuid, epoch, high_water FROM runs"))


# -- names that lead anywhere -----------------------------------------------------------------


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name[:100])
            if path.name[100:]:
                Path(path.name[:100]).rename(path.name)
    finally:
        os.chdir(here)


def _sparse(path: Path, start: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(start)
        file.truncate(40 * 2**30)


_ODD: dict[str, Callable[[Path], Any]] = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "waiting": lambda path: path.symlink_to("/dev/ptmx"),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "circle": lambda path: path.symlink_to(path.name),
    "socket": _socket,
    "sparse": _sparse,
    "garbage": lambda path: path.write_bytes(random.Random(0).randbytes(70_000)),
    "empty": lambda path: path.write_bytes(b""),
}


def _put(path: Path, draw: random.Random) -> None:
    path.unlink(missing_ok=True)
    _ODD[draw.choice(list(_ODD))](path)


def _journal(folder: Path, draw: random.Random) -> Path:
    """Return the name of a journal, be it of a run that is there, of an epoch that may be."""
    _, uuid, epoch, _ = _run(folder, draw)
    uuid = draw.choice([uuid, uuid, "f" * 32])
    epoch = draw.choice([epoch, epoch, epoch + 1, 0, 2**29, 2**32, 2**63, 10**60])
    end = draw.choice(["", "", "", f"-{draw.choice([0, 5, 2**63, 10**30])}"])
    return folder / f"{NAME}-{'displaced' if end else 'tail'}-{uuid}-{epoch}{end}"


@kind(24)
def odd_journal(folder: Path, draw: random.Random) -> None:
    _put(_journal(folder, draw), draw)


@kind(2)
def many_odd_journals(folder: Path, draw: random.Random) -> None:
    for _ in range(1500):
        name = f"{NAME}-tail-{draw.getrandbits(128):032x}-1"
        draw.choice([os.mkfifo, os.mkdir])(folder / name)


@kind(12)
def odd_side_file(folder: Path, draw: random.Random) -> None:
    _put(folder / (NAME + draw.choice(["-wal", "-shm", "-journal", "-owners"])), draw)


@kind(6)
def odd_kept_files(folder: Path, draw: random.Random) -> None:
    place = folder / f"{NAME}-artifacts"
    (kept,) = place.glob("??/*")
    target = draw.choice([kept, kept, kept, place, kept.parent])
    for each in (kept, kept.parent, place):
        if each.is_relative_to(target):
            (each.rmdir if each.is_dir() else each.unlink)()
    if target in (place, kept.parent):
        for each in sorted(target.rglob("*"), reverse=True):
            (each.rmdir if each.is_dir() else each.unlink)()
        with contextlib.suppress(FileNotFoundError):
            target.rmdir()
    _ODD[draw.choice(list(_ODD))](target)


@kind(4)
def more_kept_files(folder: Path, draw: random.Random) -> None:
    for _ in range(20):
        name = f"{draw.getrandbits(256):064x}"
        place = folder / f"{NAME}-artifacts" / name[:2]
        place.mkdir(exist_ok=True)
        _put(place / name, draw)


# -- journals with right checksums --------------------------------------------------------------


def _region(draw: random.Random, uuid: str, epoch: int, base: int, records: Any = b"") -> bytes:
    from traininglog.journal.region import HEADER, MAGIC, REGION, Head, pack_head

    odd = [0, 1, 127, 2**19 - 1, 2**20, 2**40, 2**63, 2**64 - 1]
    fields: dict[str, Any] = {
        "magic": MAGIC, "run": UUID(uuid).bytes, "epoch": epoch, "round": 1, "size": REGION,
        "base": base, "file_size": 0,
    }  # fmt: skip
    if not records:
        name = draw.choice(["size", "size", "base", "round", "file_size", "epoch"])
        fields[name] = draw.choice(odd)
    header, tag = pack_head(Head(**fields))
    body = records(tag) if callable(records) else draw.randbytes(draw.randrange(200))
    return (header.ljust(HEADER, b"\0") + body).ljust(REGION, b"\0")


def _journals_of(folder: Path, draw: random.Random, records: Any, most: int = 1) -> None:
    _, uuid, epoch, mark = _run(folder, draw)
    content = b"".join(
        _region(draw, uuid, epoch, mark, records) for _ in range(draw.randint(1, most))
    )
    path = folder / f"{NAME}-tail-{uuid}-{epoch}"
    path.write_bytes(content)
    if draw.random() < 0.2:
        os.truncate(path, draw.choice([0, 5, len(content) // 2, 40 * 2**30]))


@kind(16)
def journal_header(folder: Path, draw: random.Random) -> None:
    _journals_of(folder, draw, b"", 3)


@kind(30)
def journal_records(folder: Path, draw: random.Random) -> None:
    from traininglog.journal import record as r

    def framed(code: int, payload: bytes, tag: int) -> bytes:
        body = struct.pack("<II", code << 24, len(payload)) + payload
        return body + struct.pack("<II", zlib.crc32(body, tag), tag)

    def fixed(head: int, at: int, tag: int) -> bytes:
        return r.pack_float(head, at, 1.5, 1.5, at, head, tag)

    def part(at: int, number: int, code: int, form: int, data: bytes) -> bytes:
        return struct.pack("<QIBBI", at, number, code, form, len(data)) + data

    def noted(name: bytes, code: int, form: int, data: bytes) -> bytes:
        return struct.pack("<BBHI", code, form, len(name), len(data)) + name + data

    data = draw.choice(
        [
            b"",
            b"\xff\xfe",
            b"[" * 60_000,
            b'{"$dict":[[[],1]]}',
            b"9" * 5000,
            bytes(8),
            b'{"type":1}',
            b"NaN",
            _npy("<f8", (10**12,)),
            b"2024-13-99",
        ]
    )
    code, form = draw.randrange(0, 16), draw.randrange(0, 7)
    at = draw.choice([0, 10, 2**63, 2**64 - 1])
    number = draw.choice([0, 1, 2, 3, 999, 2**24 - 1])
    choices: list[Callable[[int], bytes]] = [
        lambda tag: fixed(draw.choice([3, 4, 16, 17, 77, 255]) * 2**24 + number, at, tag),
        lambda tag: fixed(4 * 2**24 + number, at, tag) * 400,
        lambda tag: framed(20, struct.pack("<I", number) + data[:600], tag),
        lambda tag: framed(draw.choice([17, 20, 21, 22, 99]), draw.randbytes(50), tag),
        lambda tag: framed(17, struct.pack("<Q", at) + struct.pack("<II", 77 << 24, 1), tag) * 300,
        lambda tag: framed(17, b"", tag) * 300,
        lambda tag: framed(18, part(at, number, code, form, data), tag),
        lambda tag: framed(18, part(1, 1, code, form, data) * 3, tag),
        lambda tag: framed(18, part(1, 1, 7, 3, data)[:-1], tag),
        lambda tag: framed(19, noted(b"name", code, form, data), tag),
        lambda tag: framed(19, noted(b"_epoch_ends", 5, 3, b"x") + noted(b"\xff", 1, 0, b""), tag),
        lambda tag: framed(18, part(1, 1, 7, 3, data), tag)[:-9] + draw.randbytes(40),
        lambda tag: struct.pack("<II", 18 << 24, 2**32 - 1) + bytes(60) + b"\1",
    ]  # fmt: skip
    _journals_of(folder, draw, draw.choice(choices))


# -- what SQLite lists --------------------------------------------------------------------------

_ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
_TABLES = (
    "runs", "keys", "entries", "segments", "totals", "summaries", "status", "marks", "projects",
    "trial_groups", "trials", "environments", "group_members", "traininglog_schema",
)  # fmt: skip


@kind(6)
def trigger(folder: Path, draw: random.Random) -> None:
    when = draw.choice(["BEFORE", "AFTER"])
    what = draw.choice(["INSERT", "UPDATE", "DELETE"])
    does = draw.choice(
        ["DELETE FROM runs", "SELECT RAISE(ABORT, 'no')", f"INSERT INTO t {_ENDLESS}"]
    )
    _change(
        folder,
        "CREATE TABLE t (x)",
        f"CREATE TRIGGER e {when} {what} ON {draw.choice(_TABLES)} BEGIN {does}; END",
    )


@kind(13)
def view_for_table(folder: Path, draw: random.Random) -> None:
    table = draw.choice(_TABLES)
    _change(
        folder,
        "DROP VIEW log",
        f"ALTER TABLE {table} RENAME TO {table}_",
        draw.choice(
            [
                f"CREATE VIEW {table} AS {_ENDLESS}",
                f"CREATE VIEW {table} AS SELECT * FROM {table}_, (SELECT zeroblob(1000000000))",
                f"CREATE VIRTUAL TABLE {table} USING fts5 (x)",
                f"CREATE TABLE {table} (x)",
                f"CREATE TABLE {table} AS SELECT * FROM {table}_",
            ]
        ),
    )


@kind(8)
def other_columns(folder: Path, draw: random.Random) -> None:
    table = draw.choice(_TABLES)
    _change(
        folder,
        draw.choice(
            [
                f"ALTER TABLE {table} ADD COLUMN e AS (zeroblob(1000000000))",
                f"ALTER TABLE {table} ADD COLUMN e TEXT NOT NULL DEFAULT 'x'",
                f"ALTER TABLE {table} ADD COLUMN e CHECK (e > 5)",
                f"CREATE UNIQUE INDEX e ON {table} (1)"
                if table == "traininglog_schema"
                else f"CREATE INDEX e ON {table} (hex(zeroblob(100000)))",
                "DROP INDEX runs_by_parent",
                f"DROP TABLE {table}",
            ]
        ),
    )


@kind(6)
def list_rewritten(folder: Path, draw: random.Random) -> None:
    value = draw.choice([None, "", "CREATE", b"\xff", 5, "x" * 100_000, "CREATE TABLE runs (x"])
    column = draw.choice(["type", "name", "tbl_name", "sql"])
    name = draw.choice(_TABLES)
    _change(
        folder,
        "PRAGMA writable_schema = ON",
        (f"UPDATE sqlite_master SET {column} = ? WHERE name = ?", value, name),
    )


@kind(4)
def users_own(folder: Path, draw: random.Random) -> None:
    _change(
        folder,
        "CREATE TABLE mine (x UNIQUE, y REFERENCES runs (id))",
        f"CREATE VIEW mine_too AS {_ENDLESS}",
        "CREATE INDEX mine_by ON entries (value)",
        draw.choice(["ANALYZE", "CREATE VIRTUAL TABLE words USING fts5 (x)", "SELECT 1"]),
    )


# -- what is in the tables ----------------------------------------------------------------------


def _odd(draw: random.Random) -> Any:
    return draw.choice(
        [None, "", "x", "\x1b[2J", b"", b"\xff" * 9, -1, 0, 1.5, -1e300, 1e300, float("inf"),
         2**63 - 1, -(2**63), 2**33, "9" * 5000, "ÿ" * 33, b"\0" * 100_000]
    )  # fmt: skip


def _spoil(folder: Path, draw: random.Random, table: str, column: str) -> None:
    some = f"rowid % {draw.choice([1, 2])} = 0"
    if table in ("keys", "entries", "summaries", "marks"):
        some = f"run_id >= {draw.choice([0, 2])}"
    elif table == "group_members":
        some = "1"
    statement = f'UPDATE OR IGNORE {table} SET "{column}" = ? WHERE {some}'
    with contextlib.suppress(sqlite3.IntegrityError):
        _change(folder, (statement, _odd(draw)))


@kind(50)
def odd_values(folder: Path, draw: random.Random) -> None:
    table = draw.choice(["runs", "runs", "runs", *_TABLES])
    columns = [row[1] for row in _rows(folder, f"PRAGMA table_info({table})")]
    for _ in range(draw.choice([1, 1, 3])):
        _spoil(folder, draw, table, draw.choice(columns))


@kind(8)
def lineage(folder: Path, draw: random.Random) -> None:
    uuids = [uuid for (uuid,) in _rows(folder, "SELECT uuid FROM runs ORDER BY id")]
    pairs = draw.choice(
        [
            [(uuids[0], uuids[0])],
            [(uuids[0], uuids[1]), (uuids[1], uuids[0])],
            [(uuids[0], uuids[1]), (uuids[1], uuids[2]), (uuids[2], uuids[1])],
            [(uuids[2], "f" * 32)],
            [(uuids[2], "nonsense")],
        ]
    )
    at = draw.choice([None, -1, 5, 2**63 - 1, "x", -5])
    for child, parent in pairs:
        statement = "UPDATE runs SET resumed_from = ?, resumed_at = ? WHERE uuid = ?"
        _change(folder, (statement, parent, at, child))


@kind(2)
def long_lineage(folder: Path, draw: random.Random) -> None:
    rows = [
        (f"{number:032x}", f"{number - 1:032x}", number, 1.0, 1.0, 1, 0, 0)
        for number in range(1, draw.choice([100, 200]))
    ]
    with contextlib.closing(sqlite3.connect(_path(folder))) as connection, connection:
        connection.executemany(
            "INSERT INTO runs (uuid, resumed_from, resumed_at, created, updated, epoch, "
            "high_water, deletions) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def _segments(folder: Path, changes: dict[str, Any], copies: int = 1, every: int = 0) -> None:
    """Change a segment, and make copies of it at later times, all with right checksums."""
    from traininglog.packing import Block
    from traininglog.sql.segments import RunKeys

    columns = ("first", "last", "step", "size", "kind", "codec", "times", "data")
    names = ", ".join(f'"{name}"' for name in columns)
    with contextlib.closing(sqlite3.connect(_path(folder))) as connection, connection:
        number, run, key, uuid, name, *block = connection.execute(
            f"SELECT segments.id, segments.run_id, key_id, uuid, name, {names} FROM segments "
            "JOIN runs ON runs.id = segments.run_id JOIN keys ON keys.run_id = runs.id "
            "AND keys.id = key_id ORDER BY segments.id LIMIT 1"
        ).fetchone()
        connection.execute("DELETE FROM segments WHERE id = ?", (number,))
        made = dict(zip(columns, block, strict=True)) | changes
        for _ in range(copies):
            try:
                checksum = Block(**made).checksum(RunKeys(run, uuid, {key: name}).seed(key))
            except TypeError:
                checksum = 0
            connection.execute(
                f"INSERT INTO segments (run_id, key_id, checksum, {names}) "
                f"VALUES ({', '.join('?' * 11)})",
                (run, key, checksum, *made.values()),
            )
            if every:
                made["first"] += every
                made["last"] += every
        connection.execute("UPDATE runs SET last_time = ? WHERE id = ?", (2**62, run))


def _stream(used: int = 0, plain: int = 0, form: int = 0, rest: bytes = b"") -> bytes:
    return struct.pack("<BBBQQ", form, used, plain, 0, 0) + rest


@kind(6)
def segments_that_claim(folder: Path, draw: random.Random) -> None:
    size = draw.choice([2**24, 2**24, 2**31, 2**40, 2**62])
    made = {"first": 0, "last": size - 1, "step": 1, "size": size, "times": None, "kind": 4}
    _segments(folder, made | {"data": _stream()}, draw.choice([1, 100, 400]), size)


@kind(2)
def many_whole_segments(folder: Path, draw: random.Random) -> None:
    size = 16_384
    made = {"first": 0, "last": size - 1, "step": 1, "size": size, "times": None, "kind": 4}
    # Few enough that an honest export of all of them ends within the limit.
    _segments(folder, made | {"data": _stream()}, draw.choice([5, 10]), size)


@kind(24)
def odd_segment(folder: Path, draw: random.Random) -> None:
    bomb = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = bomb.compress(bytes(2**24)) + bomb.flush()
    choices: list[dict[str, Any]] = [
        {"step": 0}, {"step": -1}, {"step": 2**62}, {"step": "x"}, {"first": 2**62}, {"first": -5},
        {"first": "x"}, {"last": -1}, {"last": 2**63 - 1}, {"size": 0}, {"size": -1}, {"size": 1},
        {"size": 1.5}, {"size": "x"}, {"kind": 0}, {"kind": 77}, {"kind": "x"}, {"kind": 5},
        {"codec": 9}, {"codec": "x"}, {"times": b""}, {"times": b"abcd"}, {"times": "x"},
        {"times": _stream() + zlib.crc32(_stream()).to_bytes(4, "little"), "step": 0},
        {"data": b""}, {"data": b"\xff" * 40}, {"data": "x"}, {"data": _stream(9, 9, 9)},
        {"data": _stream(8, 8)}, {"data": _stream(8, 0, 0, b"\xff" * 32)},
        {"data": _stream(1, 0, 0, struct.pack("<I", len(body)) + body)},
        {"data": _stream(1, 0, 0, struct.pack("<I", 2**30 - 1))},
        {"data": _stream(1, 0, 3, struct.pack("<I", 2**31 + 5) + bytes(5))},
    ]  # fmt: skip
    _segments(folder, draw.choice(choices))


def _npy(dtype: str, shape: tuple[int, ...], rest: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + rest


@kind(30)
def odd_entry(folder: Path, draw: random.Random) -> None:
    stored = draw.choice(
        [(8, _npy("<f8", (2**32,))), (8, _npy("<f8", (10**15,))), (8, _npy("V0", (10**15,))),
         (8, _npy("|S0", (10**9,))), (8, _npy("O", (5,))), (8, _npy("<f8", (-1,))),
         (8, b"\x93NUMPY"),
         (8, _npy("[('a', '<f8', (100000, 100000))]", (3,))), (8, "text"),
         (8, _npy("<M8[ns]", (1,), bytes(8))), (8, _npy("<U1", (1,), b"\xff" * 4)),
         (7, "[" * 100_000), (7, "{"), (7, "9" * 6000), (7, "NaN"), (7, '{"$float": []}'),
         (7, '{"$array": "AAAA"}'), (7, '{"$dict": [[[], 1]]}'), (7, b"[1]"), (7, 5), (7, None),
         (7, '{"$enum": {"type": "os:system", "name": "x", "value": 1}}'), (7, "1e999"),
         (9, "0001-01-01T00:00:00+14:00"), (9, "9999-12-31T23:59:59-14:00"), (9, "x"), (9, 5),
         (9, "2024-01-01T00:00:00+00:00 [../../etc/passwd]"), (9, "2024-01-01T00:00:00+00:00 [/]"),
         (10, "x"), (10, 5), (11, 5), (11, b"\0"), (12, "{}"), (12, "[]"), (12, 5),
         (12, '{"type": "signal:Signals", "name": null, "value": []}'),
         (5, 5), (5, b"\xff"), (6, "x"), (4, "x"), (4, 5), (3, 1.5), (3, "x"), (2, 2), (2, "x"),
         (1, 1), (0, 5), (77, 1), (-1, 1), ("x", 1), (None, 1)]
    )  # fmt: skip
    table = draw.choice(["entries", "entries", "status", "summaries"])
    with contextlib.suppress(sqlite3.IntegrityError):
        _change(folder, (f"UPDATE {table} SET kind = ?, value = ?", *stored))


@kind(24)
def odd_record(folder: Path, draw: random.Random) -> None:
    table = draw.choice(["trials", "trials", "trials", "projects", "environments"])
    ((text,),) = _rows(folder, f"SELECT record FROM {table} LIMIT 1")
    record = json.loads(text)
    if draw.random() < 0.4 and record.get("artifacts"):
        name = draw.choice(["name", "mode", "size", "sha256", "kind"])
        record["artifacts"][0][name] = draw.choice(
            ["../../out", "/tmp/out", ".", "", "a/../..", "x" * 5000, 0o6777, 0o1777, -1, 2**70,
             None, "f" * 64, [], "\0", "a\nb"]
        )  # fmt: skip
    else:
        record[draw.choice(list(record))] = draw.choice(
            [None, "", "x", 5, -1, 1e300, [], {}, [[[]]], {"name": 5}, {"$float": "x"}, True]
        )
    texts = [json.dumps(record), json.dumps(record), "{", "[]", "null", "[" * 100_000, "5", "NaN"]
    _change(folder, (f"UPDATE {table} SET record = ?", draw.choice(texts)))


@kind(8)
def header(folder: Path, draw: random.Random) -> None:
    choices: list[Any] = [
        "PRAGMA user_version = 2000000000", "PRAGMA user_version = -5", "PRAGMA application_id = 5",
        ("UPDATE traininglog_schema SET version_num = ?", draw.choice(["9999", "x", bytes(10**6)])),
        "DELETE FROM traininglog_schema", "UPDATE sqlite_sequence SET seq = 9223372036854775807",
        "UPDATE sqlite_sequence SET seq = 'x'", "UPDATE sqlite_sequence SET seq = -9",
        "DELETE FROM runs",
        "INSERT INTO traininglog_schema VALUES ('0002')", "DELETE FROM keys",
    ]  # fmt: skip
    _change(folder, draw.choice(choices))


@kind(10)
def bytes_of_the_file(folder: Path, draw: random.Random) -> None:
    content = bytearray(_path(folder).read_bytes())
    for _ in range(draw.choice([1, 3, 50])):
        content[draw.randrange(draw.choice([100, 4096, len(content)]))] = draw.randrange(256)
    _path(folder).write_bytes(content)


# -- looking at it ------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What a command said."""

    command: str
    status: int
    seconds: float  #: of the processor
    bytes: int  #: by how much the process grew
    errors: str  #: on stderr

    @property
    def wrong(self) -> str:
        """What is wrong about it, for people."""
        if "Traceback" in self.errors:
            return "a traceback"
        if self.status not in (0, 1):
            return f"status {self.status}"
        if self.seconds > MOST_SECONDS:
            return f"{self.seconds:.1f} s"
        if self.bytes > MOST_BYTES:
            return f"{self.bytes >> 20} MiB"
        return ""


def commands(folder: Path) -> dict[str, list[str] | Callable[[], None]]:
    """Return what is run in a folder."""
    store = ["--store", str(_path(folder))]
    return {
        "runs": ["runs", *store],
        "runs with keys": ["runs", "-k", "*", "--best", "loss", "--json", *store],
        "show": ["show", *store],
        "show parent": ["show", "--json", *store, *_prefix(folder)],
        "check": ["check", *store],
        "repair": ["check", "--repair", "--to", str(folder / "repaired.db"), *store],
        "export": ["export", "--format", "jsonl", "-o", str(folder / "out.jsonl"), *store],
        "export all": ["export", "--all", "--format", "csv", "-o", str(folder / "out.csv"), *store],
        "backup": ["backup", str(folder / "copy.db"), *store],
        "merge": ["merge", str(_path(folder)), "--store", str(folder / "all.db")],
        "trials": ["trials", *store],
        "trial show": ["trial", "show", *store],
        "trial restore": ["trial", "restore", "--to", str(folder / "restored"), *store],
        "write": lambda: _write(folder),
        "write on": lambda: _write_on(folder),
        "seal": ["seal", *store],
        "runs again": ["runs", *store],
    }  # fmt: skip


def _prefix(folder: Path) -> list[str]:
    # Immutable, as what is beside the file is not to be opened here: it may be a pipe.
    address = f"file:{_path(folder)}?mode=ro&immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
            rows = connection.execute("SELECT uuid FROM runs ORDER BY id LIMIT 1").fetchall()
        return [str(rows[0][0])[:32] or "0"]
    except (sqlite3.DatabaseError, UnicodeDecodeError, IndexError):  # a message may be no text
        return ["00"]


def _write(folder: Path) -> None:
    from traininglog import SQLiteLog

    with SQLiteLog(_path(folder)) as log:
        log[1]["loss"] = 0.5
        log.flush()


def _write_on(folder: Path) -> None:
    from traininglog import SQLiteLog, Store

    with Store(_path(folder)) as store:
        uuid = store.latest()
    with SQLiteLog(_path(folder), uuid) as log:
        log[10**6]["loss"] = 0.5
        log.flush()
        assert log[10**6] == {"loss": 0.5}


def chosen(name: str, most: int) -> list[str]:
    """Return so many of the commands, those that a name draws; `check` is always among them."""
    every = list(commands(Path()))
    draw = random.Random(name)
    some = {"check", *draw.sample(every, min(most, len(every)) - 1)} if most < len(every) else every
    return [each for each in every if each in some]


def look(folder: Path, told: Path, case: str, most: int) -> None:
    """Run some commands, and note what each said and used, a line of JSON each."""
    warnings.resetwarnings()
    some = chosen(case, most)
    address = _status("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (address + 6 * 2**30, -1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, act in commands(folder).items():
        if name not in some:
            continue
        start = resource.getrusage(resource.RUSAGE_SELF)
        used = start.ru_utime + start.ru_stime
        # Beyond it the process ends; `Answer.wrong` is less patient.
        resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 12, -1))
        with told.open("a") as file:
            print(json.dumps(name), file=file)
        errors = io.StringIO()
        status = 0
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
            status = _do(act)
        end = resource.getrusage(resource.RUSAGE_SELF)
        answer = Answer(
            name, status, end.ru_utime + end.ru_stime - used, (end.ru_maxrss - before) * 1024,
            errors.getvalue()[-6000:],
        )  # fmt: skip
        with told.open("a") as file:
            print(json.dumps(answer), file=file)


def _do(act: list[str] | Callable[[], None]) -> int:
    from traininglog import TrainingLogError
    from traininglog.cli.app import app

    try:
        if callable(act):
            act()
        else:
            app(act, prog_name="traininglog")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except TrainingLogError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - which is what is looked for
        traceback.print_exc()
        return 1
    return 0


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def answers(told: Path) -> tuple[list[Answer], str | None]:
    """Return what was noted, and the command that had no end."""
    found: list[Answer] = []
    begun = None
    for line in told.read_text().splitlines() if told.exists() else ():
        read = json.loads(line)
        if isinstance(read, str):
            begun = read
        else:
            found.append(Answer(*read))
            begun = None
    return found, begun


def wait(child: Any, seconds: float) -> None:
    """Wait for a process, and end one that has none."""
    deadline = time.monotonic() + seconds
    while child.poll() is None:
        if time.monotonic() > deadline:
            child.kill()
            child.wait()
            return
        time.sleep(0.01)
