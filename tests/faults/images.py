"""Folders as a power cut may leave them, made of a recording (see power.py).

* A file holds what was written to it before its last sync. Of what was written later it holds all,
  nothing, the first part, some of the writes, or some of their sectors; each file its own way. A
  truncation counts as a write.
* A name is in the folder or not as at any moment since the folder's last sync: so a deleted file
  may be back, and a new one missing.
* Each sector of a journal is as in any of the snapshots since the journal's last sync, if it ever
  had one. Whether there is a journal, and how long it is, is as at any moment since the last sync
  of the folder or of the database.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from faults import power
from faults.power import SECTOR, Event

_State = TypeVar("_State")

#: What a sector of a journal held, and since which event.
_Version = tuple[int, memoryview]

# What SQLite does; and that after which the world is another, of which there is less.
_ACTS = {
    power.CREATED, power.WRITTEN, power.TRUNCATED, power.SYNCED, power.DELETED,
    power.FOLDER_SYNCED,
}  # fmt: skip
_TURNS = _ACTS - {power.WRITTEN} | {power.JOURNALS, power.JOURNAL_SYNCED}


class _File:
    """A file of SQLite: what is on the disk, and what was written since."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.content = bytearray()
        self.pending: list[Event] = []

    def sync(self) -> None:
        for event in self.pending:
            _apply(self.content, event)
        self.pending = []

    def after_cut(self, chance: random.Random | None) -> bytearray:
        """Return what may be left of it; without `chance` all of it."""
        content = bytearray(self.content)
        for event in self.pending if chance is None else _surviving(self.pending, chance):
            _apply(content, event)
        return content


def _apply(content: bytearray, event: Event) -> None:
    size = event.at
    if event.kind == power.TRUNCATED:
        del content[size:]
    if len(content) < size:
        content += bytes(size - len(content))
    if event.kind == power.WRITTEN:
        content[size : size + len(event.data)] = event.data


def _surviving(pending: list[Event], chance: random.Random) -> list[Event]:
    """Choose what is on the disk of writes that nobody has synced."""
    share = chance.choice((0.05, 0.5, 0.95))
    match chance.choice(("all", "nothing", "first", "some", "torn")):
        case "all":
            return pending
        case "nothing":
            return []
        case "first":
            return pending[: chance.randrange(len(pending) + 1)]
        case "some":
            return [event for event in pending if chance.random() < share]
        case _:
            return [
                part for event in pending for part in _sectors(event) if chance.random() < share
            ]


def _sectors(event: Event) -> Iterator[Event]:
    """Cut a write where the disk's sectors meet."""
    if event.kind == power.TRUNCATED:
        yield event
    start, stop = event.at, event.at + len(event.data)
    while start < stop:
        end = min(stop, (start // SECTOR + 1) * SECTOR)
        yield event._replace(at=start, data=event.data[start - event.at : end - event.at])
        start = end


class _Journal:
    """A journal: what each sector held since it was last synced."""

    def __init__(self) -> None:
        self._versions: dict[int, list[_Version]] = {}

    def write(self, index: int, event: Event) -> None:
        zeros = (-1, memoryview(bytes(SECTOR)))
        self._versions.setdefault(event.at, [zeros]).append((index, event.data))

    def sync(self, at: int, length: int) -> None:
        for start, versions in self._versions.items():
            if at <= start < at + length:
                versions[:] = [(-1, versions[-1][1])]

    def after_cut(self, size: int, now: int, chance: random.Random | None) -> bytearray:
        """Return what may be left of it; without `chance` as it is now."""
        content = bytearray(size)
        is_old = _places(list(self._versions), chance)
        choose = _age(now, chance)
        for start, versions in self._versions.items():
            if start < size:
                content[start : start + SECTOR] = (
                    choose(versions) if is_old(start) else versions[-1][1]
                )
        return content[:size]


def _places(starts: list[int], chance: random.Random | None) -> Callable[[int], bool]:
    """Return what tells which sectors are not as they were at last."""
    if chance is None or not starts:
        return lambda _: False
    border, share = chance.choice(starts), chance.choice((0.1, 0.5, 0.9))
    return chance.choice(
        (
            lambda _: False,
            lambda _: True,
            lambda start: start < border,
            lambda start: start >= border,
            lambda start: start == border,
            lambda _: chance.random() < share,
        )
    )


def _age(now: int, chance: random.Random | None) -> Callable[[list[_Version]], memoryview]:
    """Return what chooses one of the versions of a sector."""
    if chance is None:
        return lambda versions: versions[-1][1]
    moment, back = now - chance.randrange(now + 1), chance.randrange(1, 5)
    return chance.choice(
        (
            lambda versions: versions[0][1],
            lambda versions: versions[-1 - min(back, len(versions) - 1)][1],
            lambda versions: chance.choice(versions)[1],
            lambda versions: [data for index, data in versions if index <= moment][-1],
        )
    )


class _Disk:
    """All that may be there after a power cut: the events so far, as they are gone through."""

    def __init__(self, database: str, ignored: str | None) -> None:
        self._database = database
        self._ignored = ignored
        self._files: dict[int, _File] = {}
        self._journals: dict[int, _Journal] = {}
        # What was in the folder, at each moment since it was last synced; the last one is now.
        self._names: list[dict[str, int]] = [{}]
        self._listings: list[dict[str, list[int]]] = [{}]
        self._now = 0

    def go_on(self, event: Event) -> None:
        self._now += 1
        match event.kind:
            case power.WRITTEN | power.TRUNCATED:
                self._files[event.file].pending.append(event)
            case power.SYNCED:
                file = self._files[event.file]
                if file.name != self._ignored:
                    file.sync()
                    if file.name == self._database:
                        del self._listings[:-1]
            case power.CREATED:
                file = self._files[event.file] = _File(bytes(event.data).decode())
                self._names.append(self._names[-1] | {file.name: event.file})
            case power.DELETED:
                names = self._names[-1].items()
                self._names.append({name: number for name, number in names if number != event.file})
            case power.FOLDER_SYNCED:
                del self._names[:-1]
                del self._listings[:-1]
            case power.JOURNALS:
                self._listings.append(json.loads(bytes(event.data)))
            case power.JOURNAL_WRITTEN:
                journal = self._journals.setdefault(event.file, _Journal())
                journal.write(self._now, event)
            case power.JOURNAL_SYNCED:
                if event.file in self._journals:
                    self._journals[event.file].sync(event.at, int(bytes(event.data)))

    def leave(self, chance: random.Random | None) -> dict[str, bytearray]:
        """Return the files that may be found after a power cut now; or, as after none, all."""
        found: dict[str, bytearray] = {}
        for name, number in self._names_left(chance).items():
            found[name] = self._files[number].after_cut(chance)
        for name, (number, size) in self._journals_left(chance).items():
            journal = self._journals.get(number, _Journal())
            found[name] = journal.after_cut(size, self._now, chance)
        return found

    def _names_left(self, chance: random.Random | None) -> dict[str, int]:
        if chance is None:
            return self._names[-1]
        if chance.random() < 0.6:  # as in most file systems: the first changes, and not the others
            return _late(self._names, chance)
        every = {name: number for names in self._names for name, number in names.items()}
        left = {name: _late(self._names, chance).get(name) for name in every}
        return {name: number for name, number in left.items() if number is not None}

    def _journals_left(self, chance: random.Random | None) -> dict[str, list[int]]:
        if chance is None:
            return self._listings[-1]
        if chance.random() < 0.6:
            return _late(self._listings, chance)
        left: dict[str, list[int]] = {}
        for number in {number for now in self._listings for number, _ in now.values()}:
            now = _late(self._listings, chance)
            left |= {name: found for name, found in now.items() if found[0] == number}
        return left


def _late(states: list[_State], chance: random.Random) -> _State:
    """Choose a state, the last one more often than others."""
    return states[-1] if chance.random() < 0.5 else chance.choice(states)


class Recording:
    """What a `Recorder` has written."""

    def __init__(self, path: Path, database: str) -> None:
        self._database = database
        self.events = list(power.events(path))
        numbered = list(enumerate(self.events))
        #: All that was noted: after how many events, how far they were, and what they said.
        self.notes = [
            (index + 1, event.at, json.loads(bytes(event.data) or b"{}"))
            for index, event in numbered
            if event.kind == power.NOTED
        ]
        self._begun = self.notes[0][0]
        self._acts = [index for index, event in numbered if event.kind in _ACTS]
        turns = [index for index, event in numbered if event.kind in _TURNS]
        self._turns = [index for index in turns if index > self._begun]
        self._sayings = [index for index, _, what in self.notes if what]

    def cut(self, chance: random.Random, moment: str | None = None) -> int:
        """Choose a point of the recording: after so many events."""
        moments = ("any", "act", "said", "turn", "beginning")
        match moment or chance.choices(moments, (2, 4, 2, 3, 2))[0]:
            case "any":
                cut = chance.randrange(len(self.events) + 1)
            case "act":
                cut = chance.choice(self._acts) + 1
            case "said":
                cut = chance.choice(self._sayings) + chance.randrange(4)
            case "turn":
                cut = chance.choice(self._turns or self._acts) + chance.randrange(-2, 4)
            case "creation":
                cut = chance.randrange(self._begun)
            case "beginning":
                cut = self._begun + chance.randrange(300)
            case _:
                raise ValueError(moment)
        return max(0, min(cut, len(self.events)))

    def image(
        self, cut: int, chance: random.Random | None, ignored: str | None = None
    ) -> dict[str, bytearray]:
        """Return the files that a power cut may leave after so many events.

        Without `chance`: those that were there. Syncs of the file called `ignored` count for
        nothing.
        """
        disk = _Disk(self._database, ignored)
        for event in self.events[:cut]:
            disk.go_on(event)
        return disk.leave(chance)
