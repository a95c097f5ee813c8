"""Reading a log from the tables, through its lineage.

Python code walks the chain of runs (see `lineage_chain`), nearest run first, and decides which
value wins. It skips runs that cannot hold anything at the times asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, select

from traininglog.clock import Clock, Marks
from traininglog.columns import Column, Layer, Point, Strip, overlay
from traininglog.encoding import HIDDEN, Kind, decode, fits
from traininglog.errors import CorruptLog
from traininglog.sql import segments
from traininglog.sql.lineage_chain import Chain, Link, read_key_names
from traininglog.sql.prepared import Prepared
from traininglog.sql.segments import RunKeys
from traininglog.sql.sound import is_moment, is_text, require_marks
from traininglog.sql.tables import runs
from traininglog.values import MAX_TIME, StoredRow, StoredValue


def stored_uuid(text: str) -> UUID:
    """Parse a stored UUID. Raises `CorruptLog` if it is none."""
    try:
        return UUID(text)
    except (ValueError, AttributeError, TypeError):
        raise CorruptLog(
            f"{text!r} is stored where there should be a UUID; see `traininglog check`"
        ) from None


_ID = Prepared("SELECT id FROM runs WHERE uuid = :uuid")
_ROW = Prepared("""
    SELECT keys.name, entries.kind, entries.value
    FROM entries JOIN keys ON keys.run_id = entries.run_id AND keys.id = entries.key_id
    WHERE entries.run_id = :run_id AND entries.time = :time
    ORDER BY entries.key_id
""")
_VALUE = Prepared("""
    SELECT entries.kind, entries.value
    FROM entries JOIN keys ON keys.run_id = entries.run_id AND keys.id = entries.key_id
    WHERE entries.run_id = :run_id AND entries.time = :time AND keys.name = :key
""")
_ENTRIES = Prepared("""
    SELECT run_id, time, key_id, kind, value FROM entries
    WHERE run_id = :run_id AND time BETWEEN :low AND :high
    ORDER BY time, key_id
""")
_ENTRIES_OF_KEY = Prepared("""
    SELECT run_id, time, key_id, kind, value FROM entries
    WHERE run_id = :run_id AND time BETWEEN :low AND :high AND key_id = :key_id
    ORDER BY time
""")
# A value of kind 0 is a tombstone: it hides an older value, see `Kind`.
_TIMES = Prepared("""
    SELECT DISTINCT time FROM entries
    WHERE run_id = :run_id AND time BETWEEN :low AND :high AND kind != 0
    ORDER BY time
""")
_HIDDEN_TIMES = Prepared("""
    SELECT DISTINCT time FROM entries
    WHERE run_id = :run_id AND time BETWEEN :low AND :high AND kind = 0
    ORDER BY time
""")
_LAST_TIME = Prepared("""
    SELECT time FROM entries
    WHERE run_id = :run_id AND time BETWEEN :low AND :high AND kind != 0
    ORDER BY time DESC LIMIT 1
""")
_LAST_OF_KEY = Prepared("""
    SELECT time FROM entries
    WHERE run_id = :run_id AND time BETWEEN :low AND :high AND key_id = :key_id AND kind != 0
    ORDER BY time DESC LIMIT 1
""")
# The keys of a run's entries: first from the earliest entries, as most keys are logged from the
# beginning on, then from all.
_FIRST_KEYS = Prepared("""
    SELECT key_id FROM entries WHERE run_id = :run_id AND time BETWEEN 0 AND :high AND kind != 0
    ORDER BY time, key_id LIMIT :most
""")
_ALL_KEYS = Prepared("""
    SELECT DISTINCT key_id FROM entries
    WHERE run_id = :run_id AND time BETWEEN 0 AND :high AND kind != 0
""")
_HIDDEN_KEYS = Prepared("""
    SELECT DISTINCT key_id FROM entries
    WHERE run_id = :run_id AND time BETWEEN 0 AND :high AND kind = 0
""")
_STATUS_VALUE = Prepared("SELECT kind, value FROM status WHERE run_id = :run_id AND key = :key")
_STATUS = Prepared("SELECT key, kind, value FROM status WHERE run_id = :run_id ORDER BY id")
_MARKS = Prepared("SELECT time, wall FROM marks WHERE run_id = :run_id ORDER BY time")
_CREATED = Prepared("SELECT created FROM runs WHERE id = :run_id")


def find_id(connection: Connection, uuid: str) -> int | None:
    """Return the id of the run with this UUID in hex, or None."""
    return next((number for (number,) in _ID.run(connection, uuid=uuid)), None)


def read_value(connection: Connection, chain: Chain, time: int, key: str) -> StoredValue:
    """Return the value seen at (time, key), or `HIDDEN` if it is deleted or absent."""
    for link in chain.covering(time, time):
        for kind, stored in _VALUE.run(connection, run_id=link.run_id, time=time, key=key):
            return decode(kind, stored)
        if link.sealed:
            number = chain.number(connection, link, key)
            if number is not None:
                owner = chain.owner(connection, link)
                for _, value in segments.read_at(connection, owner, time, chain.cache, number):
                    return value
    return HIDDEN


def read_row(connection: Connection, chain: Chain, time: int) -> StoredRow:
    """Return the values seen at a time, `HIDDEN` included, in no particular order."""
    seen: dict[str, object] = {}
    for link in chain.covering(time, time):
        for key, kind, stored in _ROW.run(connection, run_id=link.run_id, time=time):
            if key not in seen:
                seen[key] = decode(kind, stored)
        if link.sealed:
            owner = chain.owner(connection, link)
            for number, value in segments.read_at(connection, owner, time, chain.cache):
                seen.setdefault(owner.names[number], value)
    return seen


def read_times(
    connection: Connection, chain: Chain, low: int, high: int
) -> tuple[set[int], set[int]]:
    """Return the times that have a logged value, and the times that have a tombstone."""
    found = chain.times(connection, low, high) if chain.long else set()
    doubtful: set[int] = set()
    for link in chain.covering(low, high):
        bounds = {"run_id": link.run_id, "low": low, "high": min(high, link.cut)}
        if not chain.long:
            found.update(time for (time,) in _TIMES.run(connection, **bounds))
        if link.sealed:
            found.update(segments.read_times(connection, **bounds))
        if link.hides:
            doubtful.update(time for (time,) in _HIDDEN_TIMES.run(connection, **bounds))
    return found, doubtful


def read_last_time(connection: Connection, chain: Chain, below: int) -> int:
    """Return the greatest time up to `below` at which some run logged something, or -1."""
    last = -1
    for link in chain.covering(last + 1, below):
        if link.last > last:
            high = min(below, link.cut)
            for (time,) in _LAST_TIME.run(connection, run_id=link.run_id, low=0, high=high):
                last = max(last, time)
            if link.sealed:
                last = max(last, segments.read_last_time(connection, link.run_id, high))
    return last


def read_columns(
    connection: Connection,
    chain: Chain,
    keys: Iterable[str] | None,
    low: int,
    high: int,
    top: Layer,
    order: Iterable[str],
    *,
    lineage: bool,
) -> list[Column]:
    """Return some keys as columns, through the chain, with `top` (unflushed values) over all."""
    wanted = None if keys is None else frozenset(keys)
    links = list(chain.covering(low, high))
    if not lineage:
        links = [link for link in links if link is chain.links[0]]
    layers = []
    if chain.long and len(links) > 1 and chain.brief(low, high):
        layers = _together(connection, chain, links, wanted, low, high)
    else:
        for link in reversed(links):
            cut, names = min(high, link.cut), _chosen(chain.keys(connection, link), wanted)
            if link.sealed:
                owner = chain.owner(connection, link)
                layers.append(_sealed(connection, owner, names, wanted, low, cut))
            layers.append(_layer(connection, link, names, wanted, low, cut))
    return overlay([*layers, top], order)


def _chosen(names: dict[int, str], wanted: frozenset[str] | None) -> dict[int, str]:
    if wanted is None:
        return names
    return {number: name for number, name in names.items() if name in wanted}


def _together(
    connection: Connection, chain: Chain, links: list[Link], wanted: frozenset[str] | None,
    low: int, high: int,
) -> list[Layer]:  # fmt: skip
    """Return the layers of many runs; join the layers of runs that follow each other in time."""
    name = next(iter(wanted)) if wanted is not None and len(wanted) == 1 else None
    stored = chain.entries(connection, low, high, name)
    sealed = chain.segments(connection, low, high, name)
    layers: list[Layer] = []
    stretch: list[Any] = []
    common: dict[int, str] = {}
    for link in reversed(links):
        names = _chosen(chain.keys(connection, link), wanted)
        rows, blocks = stored.get(link.run_id, []), sealed.get(link.run_id)
        follows = not stretch or (rows and rows[0][1] > stretch[-1][1] and names == common)
        if stretch and (blocks or (rows and not follows)):
            layers.append(layer_of_entries(stretch, common))
            stretch = []
        if blocks:
            mine = (block[1:] for block in blocks if block[2] in names)
            owner, cut = chain.owner(connection, link), min(high, link.cut)
            layers.append(_named(segments.strips_of(owner, mine, low, cut), names))
        if rows:
            stretch += rows
            common = names
    return [*layers, layer_of_entries(stretch, common)]


def _sealed(
    connection: Connection, owner: RunKeys, names: Mapping[int, str], wanted: frozenset[str] | None,
    low: int, high: int,
) -> Layer:  # fmt: skip
    if wanted is None:
        found = segments.read_strips(connection, owner, low, high)
    else:
        found = {}
        for number in names:
            found |= segments.read_strips(connection, owner, low, high, number)
    return _named(found, names)


def _named(strips: dict[int, Strip], names: Mapping[int, str]) -> Layer:
    return {names[number]: strip for number, strip in strips.items()}


def _layer(
    connection: Connection, link: Link, names: Mapping[int, str], wanted: frozenset[str] | None,
    low: int, high: int,
) -> Layer:  # fmt: skip
    bounds = {"run_id": link.run_id, "low": low, "high": high}
    if len(names) == 1 and wanted is not None:
        rows = _ENTRIES_OF_KEY.run(connection, key_id=next(iter(names)), **bounds)
    elif names:
        rows = _ENTRIES.run(connection, **bounds)
    else:
        rows = []
    return layer_of_entries(rows, names)


def layer_of_entries(rows: Iterable[Any], names: Mapping[int, str]) -> Layer:
    """Turn entries of a run, ordered by time, into a layer of the keys in `names`."""
    columns: dict[int, tuple[list[int], list[object]]] = {}
    for _, time, number, kind, stored in rows:
        if kind != 4 or type(stored) is not float:
            stored = decode(kind, stored)  # noqa: PLW2901 - the loop is hot
        column = columns.get(number)
        if column is not None:
            column[0].append(time)
            column[1].append(stored)
        elif number in names:
            columns[number] = [time], [stored]
    return {names[number]: column for number, column in columns.items()}


def read_clock(connection: Connection, chain: Chain, *, lineage: bool) -> Clock:
    """Return the clock of a chain (when its runs had got to which time), or of its nearest run."""
    links = chain.links if lineage else chain.links[:1]
    ((created,),) = _CREATED.run(connection, run_id=links[-1].run_id)
    if not is_moment(created):
        raise CorruptLog(
            f"run {links[-1].uuid} was made at a moment that is none; see `traininglog check`"
        )
    stretches = []
    for link in reversed(links):
        found = require_marks(_MARKS.run(connection, run_id=link.run_id))
        stretches.append(Marks(link.cut, [time for time, _ in found], [wall for _, wall in found]))
    return Clock(created, stretches)


def read_keys(connection: Connection, chain: Chain) -> tuple[list[str], set[str]]:
    """Return the keys that some run has a value of, and which of them have a tombstone."""
    found: set[str] = set()
    doubtful: set[str] = set()
    for link in chain.covering(0, MAX_TIME):
        names = chain.keys(connection, link)
        found.update(names[number] for number in _keys_with_values(connection, link, names, found))
        if link.hides:
            hidden = _HIDDEN_KEYS.run(connection, run_id=link.run_id, high=link.cut)
            doubtful.update(names[number] for (number,) in hidden if number in names)
    return [key for key in chain.places(connection) if key in found], doubtful & found


def _keys_with_values(
    connection: Connection, link: Link, names: Mapping[int, str], known: set[str]
) -> set[int]:
    """Return the keys of which a run of a chain shows a value, without the `known` ones."""
    missing = {number for number, name in names.items() if name not in known}
    wanted = len(missing)
    seen: set[int] = set()
    if missing and link.sealed:
        seen |= missing & segments.keys_before(connection, link.run_id, link.cut)
    if missing - seen:
        most = max(1000, 2 * len(names))
        bounds = {"run_id": link.run_id, "high": link.cut}
        rows = _FIRST_KEYS.run(connection, most=most, **bounds)
        seen |= missing & {number for (number,) in rows}
        if len(seen) < wanted and len(rows) == most:
            seen |= missing & {number for (number,) in _ALL_KEYS.run(connection, **bounds)}
    return seen


def read_status(connection: Connection, run_id: int) -> StoredRow:
    """Return the status of a run, in the order in which its keys were first set."""
    values = read_whole_status(connection, run_id)
    return {key: value for key, value in values.items() if value is not HIDDEN}


def read_status_value(connection: Connection, run_id: int, key: str) -> StoredValue:
    """Return one value of the status of a run, or `HIDDEN`."""
    for kind, stored in _STATUS_VALUE.run(connection, run_id=run_id, key=key):
        return decode(kind, stored)
    return HIDDEN


def read_whole_status(connection: Connection, run_id: int) -> StoredRow:
    """Return the status of a run, with `HIDDEN` for each deleted value."""
    rows = _STATUS.run(connection, run_id=run_id)
    if not all(is_text(key) for key, *_ in rows):
        raise CorruptLog("a key of a status is no text; see `traininglog check`")
    return {key: decode(kind, stored) for key, kind, stored in rows}


def owner_of(connection: Connection, run_id: int, uuid: str) -> RunKeys:
    """Return the run and its keys, as the checksums of its segments need them."""
    return RunKeys(run_id, uuid, read_key_names(connection, run_id))


def read_run_keys(connection: Connection, run_id: int) -> dict[str, int]:
    """Return the keys that a run itself has written, with their numbers."""
    return {name: number for number, name in read_key_names(connection, run_id).items()}


def read_last(connection: Connection, chain: Chain, key: str) -> StoredValue:
    """Return the last value of a key that is seen through a lineage, or None."""
    point = read_last_point(connection, chain, key)
    return None if point is None else point.value


def read_last_point(connection: Connection, chain: Chain, key: str) -> Point | None:
    """Return the last value of a key that is seen through a lineage, with its time, or None."""
    last = -1
    for link in chain.covering(0, MAX_TIME):
        if link.last <= last or (number := chain.number(connection, link, key)) is None:
            continue
        bounds = {"run_id": link.run_id, "low": 0, "high": link.cut}
        for (time,) in _LAST_OF_KEY.run(connection, key_id=number, **bounds):
            last = max(last, time)
        if link.sealed:
            owner, cut = chain.owner(connection, link), link.cut
            found = segments.read_last(connection, owner, number, 0, cut, chain.cache)
            last = last if found is None else max(last, found[0])
    value = HIDDEN if last < 0 else read_value(connection, chain, last, key)
    if value is not HIDDEN:
        return Point(last, value)
    if last < 0:
        return None
    # A nearer run deleted it: read the whole column.
    columns = read_columns(connection, chain, [key], 0, MAX_TIME, {}, [key], lineage=True)
    return columns[0].last if columns else None


def entry_batches(connection: Connection, run_id: int) -> Iterator[list[Any]]:
    """Yield all entries of a run, as `lineage_chain.ENTRY`, 50,000 at a time."""
    return _ENTRIES.batches(connection, 50_000, run_id=run_id, low=0, high=MAX_TIME)


def unreadable(connection: Connection) -> list[str]:
    """Decode every stored value; return a message for each that cannot be read."""
    problems = []
    for run_id, uuid in connection.execute(select(runs.c.id, runs.c.uuid)).all():
        names = read_key_names(connection, run_id)
        for batch in entry_batches(connection, run_id):
            for _, time, number, kind, stored in batch:
                problem = _problem(kind, stored)
                if number not in names:
                    problem = f"it has key {number!r:.40}, which the run does not"
                if problem:
                    where = f"run {uuid!s:.40}, time {time!s:.40}, {names.get(number)!r:.80}"
                    problems.append(f"{where}: {problem:.200}")
        owner = RunKeys(run_id, uuid, names)
        for row in segments.each(connection, run_id):
            try:
                segments.decoded(owner, row)
            except CorruptLog as error:
                problems.append(f"{error!s:.400}")
        for key, kind, stored in _STATUS.run(connection, run_id=run_id):
            problem = _problem(kind, stored)
            if problem:
                problems.append(f"run {uuid!s:.40}, status {key!r:.80}: {problem:.200}")
    return problems


def _problem(kind: int, stored: StoredValue) -> str | None:
    if kind == Kind.FLOAT and not fits(kind, stored):
        return f"a float is stored as {type(stored).__name__}"
    if kind == Kind.INT and not isinstance(stored, int):
        return f"an integer is stored as {type(stored).__name__}"
    if kind in (Kind.FLOAT, Kind.INT):
        return None
    try:
        decode(kind, stored)
    except CorruptLog as error:
        return str(error)
    return None if fits(kind, stored) else f"a value of kind {kind} is not stored in its form"
