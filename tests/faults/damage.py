"""Files that a killed process left, damaged; and what a reader then makes of them.

`prepare` makes a folder with a database, its WAL and two journals, and tells everything that was
ever assigned. `trial` damages a copy of it, in a way that follows from a seed, and reads all there
is. Both are called from `test_damage.py`, the second one in processes of its own.

Run as a script, this is a process that logs: ``damage.py A path``, and so on.
"""

from __future__ import annotations

import contextlib
import datetime
import faulthandler
import functools
import pickle
import random
import shutil
import sqlite3
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy  # noqa: F401 - without which so few numbers would not be sealed

from traininglog import SQLiteLog, Store, TrainingLogError, TrainingLogWarning
from traininglog.encoding import HIDDEN
from traininglog.values import thaw

#: How long opening a damaged file, reading all of it and checking it may take, in seconds.
LIMIT = 10.0

#: The name of the database in a folder.
NAME = "runs.db"

#: A time and a key, or "status" and a key.
Place = tuple[Any, str]

#: By the UUID of a run and the place: all that was ever assigned there.
History = dict[str, dict[Place, set[str]]]

_FORK = 240


# -- what is written --------------------------------------------------------------------------


def steps(run: str, first: int, last: int) -> Iterator[tuple[Place, Any]]:
    """Give what a run assigns at some times; `HIDDEN` deletes."""
    chance = random.Random(f"{run} {first}")
    for at in range(first, last):
        yield (at, "loss"), chance.random()
        yield (at, "count"), chance.randrange(-(2**40), 2**40)
        if at % 13 in (0, 1, 5):  # at irregular times
            yield (at, "seldom"), chance.choice([at, at / 7, at % 2 == 0])
        if at % 7 == 0:
            yield (
                (at, "größe"),
                chance.choice(
                    [None, True, float("nan"), -0.0, b"\0\xff", "é\0", 2**63 - 1, "x" * 40]
                ),
            )
        if at % 11 == 0:
            yield (at, "list"), [chance.random(), {"a": None, "b": [True, "c"]}]
            yield (at - at % 5, "loss"), chance.random()  # once more
        if at % 31 == 0:
            yield (at, "at"), datetime.datetime(2024, 1, 1 + at % 28, 12, tzinfo=datetime.UTC)
        if at % 67 == 0:
            yield (at, "long"), f"{run} {at} " * 800
        if at % 37 == 0:
            yield (at, "count"), HIDDEN
        yield ("status", "iterations_done"), at
        if at % 50 == 0:
            yield ("status", f"note {at}"), f"{run} has come to {at}"


#: What the runs do in turn: one that was closed, and so sealed; a child of it that was killed after
#: a flush; and one that was killed before its first.
PARTS = {
    "A": [(0, 300)],
    "B": [(_FORK + 20, 360), (360, 450)],
    "C": [(0, 90)],
}


def _write(run: str, path: str) -> None:
    if run == "B":
        with Store(path) as store:
            log = SQLiteLog(path, store.runs(name="A")["uuid"].iloc[0], at=_FORK)
    else:
        log = SQLiteLog(path)
    if run != "C":
        log.status["name"] = run
    for number, (first, last) in enumerate(PARTS[run]):
        if run != "A" and number == len(PARTS[run]) - 1:
            print(log.h_uuid, flush=True)
            sys.stdin.readline()  # until the file is locked
        for (where, key), value in steps(run, first, last):
            mapping: Any = log.status if where == "status" else log[where]
            if value is HIDDEN:
                del mapping[key]
            else:
                mapping[key] = value
        if number < len(PARTS[run]) - 1:
            log.flush()
    if run == "A":
        log.close()
    print(log.h_uuid, flush=True)
    sys.stdin.readline()


def prepare(folder: Path) -> History:
    """Make the files; return, by the UUID of a run, all that was ever assigned at each place."""
    from faults import harness  # which a script in this folder does not find

    path = folder.with_name("being made") / NAME
    path.parent.mkdir(parents=True)
    command = [sys.executable, "-W", "ignore", __file__]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    first = subprocess.run(
        [*command, "A", path], input="\n", stdout=subprocess.PIPE, text=True, check=True
    )
    uuids = {"A": first.stdout.split()[-1]}
    with contextlib.ExitStack() as stack:
        both = {
            run: stack.enter_context(subprocess.Popen([*command, run, path], **pipes))
            for run in ("B", "C")
        }
        for run, process in both.items():
            uuids[run] = process.stdout.readline().strip()
        with harness.locked(path):
            for process in both.values():
                process.stdin.write("\n")
                process.stdin.flush()
                process.stdout.readline()
                process.kill()
                process.wait()
            # Before the lock is let go of: whoever closes a file last empties its WAL.
            subprocess.run(["cp", "-a", path.parent, folder], check=True)
    assert (folder / f"{NAME}-wal").stat().st_size > 0
    assert len(tails(folder)) == 2
    columns = {spot.column for spot in layout_of(folder / NAME).values()}
    assert columns >= {"segments.data", "segments.times"}, columns
    return {uuids[run]: history for run, history in _histories(uuids).items()}


def prepare_without_wal(folder: Path, other: Path) -> None:
    """Make a copy of a folder, with everything that was in the WAL in the database."""
    shutil.copytree(folder, other)
    with contextlib.closing(sqlite3.connect(other / NAME)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert not (other / f"{NAME}-wal").exists()


def _histories(uuids: dict[str, str]) -> History:
    found: History = {}
    for run, parts in PARTS.items():
        history = found[run] = {}
        begin: dict[str, Any] = {"iterations_done": 0, "epochs_done": 0, "_epoch_ends": []}
        parent = None
        if run == "B":
            parent = uuids["A"]
            for place, forms in found["A"].items():
                if place[0] == "status" or place[0] <= _FORK:
                    history[place] = set(forms)
            begin["iterations_done"] = _FORK
            begin |= {f"note {at}": f"A has come to {at}" for at in range(0, 300, 50)}
            history["status", "name"] = {form("A")}  # until it has one of its own
        if run != "C":
            history.setdefault(("status", "name"), set()).add(form(run))
        for key, value in (begin | {"resumed_from": parent}).items():
            history.setdefault(("status", key), set()).add(form(value))
        for first, last in parts:
            for place, value in steps(run, first, last):
                if value is not HIDDEN:
                    history.setdefault(place, set()).add(form(value))
    return found


def form(value: Any) -> str:
    """Return a text that only the very same value has."""
    return repr(thaw(value))


def tails(folder: Path) -> list[Path]:
    """Return the journals in a folder, the one with most in it first."""
    found = [file for file in folder.iterdir() if "-tail-" in file.name]
    return sorted(found, key=lambda file: -len(file.read_bytes().rstrip(b"\0")))


# -- what is read -----------------------------------------------------------------------------


class Seen(NamedTuple):
    """What a reader made of a file."""

    values: dict[tuple[str, Place], str]  #: by run and place
    errors: list[str]  #: what was raised
    problems: list[str]  #: what `Store.check` told, or raised
    warnings: list[str]

    @property
    def said(self) -> bool:
        """Whether the reader was told of anything."""
        return bool(self.errors or self.problems or self.warnings)


def examine(path: Path, *, readonly: bool) -> Seen:
    """Open a file, read everything in it, and check it. Any error but our own is raised."""
    seen = Seen({}, [], [], [])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _noted(seen.errors), Store(path, readonly=readonly) as store:
            with _noted(seen.problems):
                seen.problems.extend(store.check().problems)
            with _noted(seen.errors):
                store.to_dataframe()
            for uuid in store.runs(heads=False)["uuid"]:
                with _noted(seen.errors):
                    _read(store, uuid, seen)
    for warning in caught:
        assert issubclass(warning.category, (TrainingLogWarning, ResourceWarning)), warning
    seen.warnings.extend(
        str(warning.message) for warning in caught if warning.category is TrainingLogWarning
    )
    return seen


def _read(store: Store, uuid: str, seen: Seen) -> None:
    store.state(uuid)
    with store.log(uuid, readonly=True) as log:
        with _noted(seen.errors):
            for key, value in log.status.items():
                seen.values[uuid, ("status", key)] = form(value)
        with _noted(seen.errors):
            log.lineage()
            log.keys_seen()
        with _noted(seen.errors):
            for at, row in log.to_dict().items():
                for key, value in row.items():
                    seen.values[uuid, (at, key)] = form(value)


@contextlib.contextmanager
def _noted(errors: list[str]) -> Iterator[None]:
    try:
        yield
    except TrainingLogError as error:
        errors.append(f"{type(error).__name__}: {error}")


# -- what is damaged --------------------------------------------------------------------------


class Spot(NamedTuple):
    """What a byte of a database is part of."""

    column: str  #: as "entries.value", or "entries.header": of a record
    row: int | str | None  #: in entries, the time; in the status, "status"


#: The columns in which a flipped bit may go unnoticed, as no checksum covers them in this revision
#: of the schema: another value is then read in the same row. See `Outcome`. Segments have one.
UNCOVERED = ("entries.key_id", "entries.kind", "entries.value", "status.kind", "status.value")

#: The same, of one byte or two for each run that was resumed: rows of its parent may show.
RESUME_POINT = "runs.resumed_at"


class Damage(NamedTuple):
    """One bit of a file that is flipped, or where the file is cut."""

    file: str
    at: int
    bit: int | None  #: None: it is cut
    column: str | None  #: what is there, if it is a record of a database
    rows: frozenset[int | str | None]  #: in which what is uncovered may be damaged

    def apply(self, folder: Path) -> bytes:
        """Do it; return what is then in the file."""
        file = folder / self.file
        content = bytearray(file.read_bytes())
        if self.bit is None:
            del content[self.at :]
        else:
            content[self.at] ^= 1 << self.bit
        file.write_bytes(content)
        return bytes(content)


def choose(folder: Path, seed: int) -> Damage:
    """Choose a damage to one of the files in a folder."""
    chance = random.Random(f"damage {seed}")
    database, wal, journals = folder / NAME, folder / f"{NAME}-wal", tails(folder)
    weights = {database: 45, wal: 20 if wal.exists() else 0, journals[0]: 17, journals[1]: 18}
    file = chance.choices(list(weights), list(weights.values()))[0]
    size = file.stat().st_size
    bit = None if chance.random() < 0.15 else chance.randrange(8)
    draw = chance.random()
    at = chance.randrange(size)
    if file == database and bit is not None:
        layout = layout_of(file)
        # What is covered is a small part of a file, and made of many sorts: look at each.
        columns = {spot.column for spot in layout.values()}
        column = chance.choice(sorted(columns - set(UNCOVERED)))
        if draw < 0.4:
            at = chance.choice([place for place, spot in layout.items() if spot.column == column])
        while 0.4 <= draw < 0.8 and at in layout:
            at = chance.randrange(size)
    if file in journals:
        used = len(file.read_bytes().rstrip(b"\0"))  # a journal is larger than what is in it
        at = chance.randrange(
            64 if draw < 0.25 else 256 if draw < 0.4 else used if draw < 0.95 else size
        )
    return damage_at(file, at, bit)


def damages_of(folder: Path, table: str, count: int) -> list[Damage]:
    """Return so many flipped bits of what a table of the database holds."""
    chance = random.Random(table)
    layout = layout_of(folder / NAME)
    columns = sorted({spot.column for spot in layout.values() if spot.column.startswith(table)})
    chosen = []
    for number in range(count):  # each column in turn, however small it is
        column = columns[number % len(columns)]
        places = [place for place, spot in layout.items() if spot.column == column]
        chosen.append(damage_at(folder / NAME, chance.choice(places), chance.randrange(8)))
    return chosen


def damage_at(file: Path, at: int, bit: int | None) -> Damage:
    """Return the damage of flipping a bit or cutting a file at a byte."""
    if file.name != NAME:
        return Damage(file.name, at, bit, None, frozenset())
    layout = layout_of(file)
    spots = [layout[at]] if at in layout else []
    column = spots[0].column if spots else None
    if bit is None:
        spots = [spot for place, spot in layout.items() if place >= at]
    rows = frozenset(spot.row for spot in spots if spot.column in UNCOVERED)
    return Damage(file.name, at, bit, column, rows)


# -- where what is in a database --------------------------------------------------------------


@functools.cache
def layout_of(database: Path) -> dict[int, Spot]:
    """Tell, of each byte in a record of a database, what it is part of.

    See sqlite.org/fileformat.html for what is read here. The WAL is left out.
    """
    content = database.read_bytes()
    found: dict[int, Spot] = {}
    with contextlib.closing(sqlite3.connect(f"{database.as_uri()}?immutable=1", uri=True)) as link:
        tables = link.execute("SELECT name, rootpage FROM sqlite_master WHERE rootpage > 0")
        for name, root in tables.fetchall():
            names = [row[1] for row in link.execute(f"PRAGMA table_info({name})")]
            for places in _records(content, root):
                head, *columns = _columns(content, places)
                row: int | str | None = "status" if name == "status" else None
                if name == "entries":
                    row = int.from_bytes(bytes(content[place] for place in columns[1]), "big")
                found |= dict.fromkeys(head, Spot(f"{name}.header", None))
                for number, column in enumerate(columns):
                    title = names[number] if names else "key"  # of an index
                    found |= dict.fromkeys(column, Spot(f"{name}.{title}", row))
    return found


def _records(content: bytes, page: int) -> Iterator[list[int]]:
    """Give, for each record of a b-tree, the places of its bytes."""
    size = int.from_bytes(content[16:18], "big")
    usable = size - content[20]
    start = (page - 1) * size
    head = start + (100 if page == 1 else 0)
    kind = content[head]
    inner = kind in (2, 5)
    count = int.from_bytes(content[head + 3 : head + 5], "big")
    children = [int.from_bytes(content[head + 8 : head + 12], "big")] if inner else []
    for number in range(count):
        pointer = head + (12 if inner else 8) + 2 * number
        at = start + int.from_bytes(content[pointer : pointer + 2], "big")
        if inner:
            children.append(int.from_bytes(content[at : at + 4], "big"))
            at += 4
        if kind == 5:  # of a table with a rowid: no record here
            continue
        length, at = _varint(content, at)
        if kind == 13:
            _, at = _varint(content, at)
        most = usable - 35 if kind == 13 else (usable - 12) * 64 // 255 - 23
        least = (usable - 12) * 32 // 255 - 23
        local = least + (length - least) % (usable - 4)
        local = length if length <= most else local if local <= most else least
        places = list(range(at, at + local))
        following = at + local
        while len(places) < length:
            over = (int.from_bytes(content[following : following + 4], "big") - 1) * size
            places += range(over + 4, over + 4 + min(usable - 4, length - len(places)))
            following = over
        yield places
    for child in children:
        yield from _records(content, child)


def _columns(content: bytes, places: list[int]) -> Iterator[list[int]]:
    """Cut the places of a record into those of its header and of each column."""
    record = bytes(content[place] for place in places)
    begin, at = _varint(record, 0)
    yield places[:begin]
    end = begin
    while at < begin:
        form, at = _varint(record, at)
        size = (form - 12) // 2 if form >= 12 else (0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0)[form]
        yield places[end : end + size]
        end += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for number in range(8):
        byte = content[at + number]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + number + 1
    return value << 8 | content[at + 8], at + 9


# -- one trial --------------------------------------------------------------------------------


class Known(NamedTuple):
    """What is to be seen in a folder, and what may be."""

    history: History
    intact: dict[tuple[str, Place], str]  #: all values
    journaled: dict[tuple[str, Place], str]  #: those of them that are only in a journal


def survey(folder: Path, history: History) -> Known:
    """Look at copies of an undamaged folder; and note it down for the processes to come."""
    copy, bare = (folder.with_name(f"{folder.name} {what}") for what in ("intact", "bare"))
    shutil.copytree(folder, copy)
    shutil.copytree(folder, bare)
    for tail in tails(bare):
        tail.unlink()
    intact, flushed = (examine(path / NAME, readonly=False) for path in (copy, bare))
    assert not intact.said, intact[1:]
    journaled = {
        place: value for place, value in intact.values.items() if flushed.values.get(place) != value
    }
    known = Known(history, intact.values, journaled)
    folder.with_name(f"{folder.name} known").write_bytes(pickle.dumps(known))
    return known


@functools.cache
def recall(folder: Path) -> Known:
    """Return what `survey` noted down."""
    known: Known = pickle.loads(folder.with_name(f"{folder.name} known").read_bytes())
    return known


class Outcome(NamedTuple):
    """What came of a damage."""

    seed: int
    damage: Damage
    error: str  #: what was raised that is none of ours, with its traceback
    said: bool  #: whether the reader was told of anything
    wrong: list[str]  #: values that nobody had assigned there, although nothing was raised or told
    known: bool  #: whether these are of the kind that is known to go unnoticed
    unsaid: list[str]  #: what is wrong about what was done with the journals
    took: float  #: seconds of a processor


def trial(folder: Path, seed: int, damage: Damage | None = None) -> Outcome:
    """Damage a copy of a folder, and look at it."""
    from patience import GUARD  # which a script in this folder does not find

    history, _, journaled = recall(folder)
    damage = damage or choose(folder, seed)
    copy = folder.with_name(f"{folder.name} {seed}")
    shutil.copytree(folder, copy)
    content = damage.apply(copy)
    before = {tail.name: tail.read_bytes() for tail in tails(copy)}
    hang = copy.with_name(f"hang {seed}")
    seen, error = Seen({}, [], [], []), ""
    begin = time.process_time()
    with hang.open("w") as told:
        print(seed, damage, file=told, flush=True)
        # If it hangs, the process ends, with a word on where it stood.
        faulthandler.dump_traceback_later(GUARD, exit=True, file=told)
        try:
            seen = examine(copy / NAME, readonly=seed % 3 == 0)
        except Exception:  # noqa: BLE001 - which is what is looked for
            error = traceback.format_exc()
        finally:
            faulthandler.cancel_dump_traceback_later()
    took = time.process_time() - begin
    hang.unlink()
    after = [tail.read_bytes() for tail in tails(copy)]
    shutil.rmtree(copy)
    wrong = [
        (run, place, found)
        for (run, place), found in seen.values.items()
        if not seen.problems and found not in history.get(run, {}).get(place, ())
    ]
    known = damage.column == RESUME_POINT or all(place[0] in damage.rows for _, place, _ in wrong)
    lost = {
        run for run, place in journaled if seen.values.get((run, place)) != journaled[run, place]
    }
    unsaid = []
    for name in () if error else before:
        # Of less than its first eight bytes nobody can tell that it ever was a journal.
        if not any(run in name for run in lost) or len(before[name]) < 8:
            continue
        if name == damage.file and not (seen.said and content in after):
            unsaid.append(f"{name}: said: {seen.said}, kept: {content in after}")
        if before[name] not in after and not seen.said and damage.column != "runs.high_water":
            unsaid.append(f"{name} is gone, what was in it is not there, and nothing was said")
    told = [f"{run} {place}: {found[:80]}" for run, place, found in wrong[:3]]
    return Outcome(seed, damage, error, seen.said, told, known, unsaid, took)


if __name__ == "__main__":
    _write(*sys.argv[1:])
