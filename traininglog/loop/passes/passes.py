"""The data of an epoch, and the position in it.

A position is the number of the pass over data in its epoch, and the number of batches read in it.
Data with `state_dict` and `load_state_dict` reports its own position. All other data is read again
from the start up to the position: a **replay**. A replay begins with the random generators as they
were before the data was opened, those inside the data included. So data that is shuffled anew at
each pass comes in the same order. Fingerprints of the batches show whether it does.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any, Literal

from traininglog.errors import TrainingLogWarning
from traininglog.loop.errors import NoBatches
from traininglog.loop.passes.data_reading import (
    DataReading,
    differs,
    go_through,
    has_workers,
    older,
    there,
)
from traininglog.loop.passes.fingerprints import opened
from traininglog.loop.passes.generators import generators_in, set_states, state_print, states_of
from traininglog.loop.states import randomness
from traininglog.loop.states.trees import copied

Data = Iterable[Any] | Callable[[], Iterable[Any]]
Replay = Literal["check", "trust"]


class Passes:
    """The passes over data in the epoch that is open.

    Args:
        generators: The program's own random generators, by name.
        resumable: Whether the loop needs positions. If not, the passes keep nothing for them.
        replay: Whether to ``"check"`` that replayed data is the same, or to ``"trust"`` it.

    """

    def __init__(
        self, generators: Mapping[str, Any], *, resumable: bool, replay: Replay = "check"
    ) -> None:
        self._generators = generators
        self._resumable = resumable
        self._checks = replay == "check"
        self._reading: DataReading | None = None
        self._readings: dict[str, DataReading] = {}  # by number of the pass, the last reading
        self._iterators: list[DataReading] = []  # readings of data that is its own iterator
        self._stateful: dict[str, Any] = {}  # by number of the pass, data with a position
        self._used_up: list[Any] = []
        self._skip: dict[str, Any] | None = None
        self._states: dict[str, Any] = {}  # positions that data has yet to load
        self._own: dict[str, Any] = {}  # states that the data's generators have yet to load
        self._streams: dict[str, Any] = {}  # readings of iterators that are in the middle
        # Generators that are restored, by id: the loop restores the program's own first.
        self._placed: dict[int, Any] = {id(one): one for one in generators.values()}
        self._warm: list[str] = []  # passes over data whose workers ran before
        self._random: dict[str, Any] = {}
        self._told = False
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Reset the counts for the first pass of an epoch."""
        self.gone_through = False  #: whether the open pass was replayed up to its start
        self.done = 0  #: passes that have ended
        self.batches = 0  #: batches read in the open pass
        self.is_open = False
        self._reading = None
        self._skip = None  # a program that has fewer passes now leaves some of it over

    def took(self, batch: object) -> None:
        """Count a batch that was read, and take its fingerprint."""
        self.batches += 1
        reading = self._reading
        if reading is not None:
            reading.had += 1
            if self._resumable and self._checks:
                reading.prints.add(reading.had, batch, reading.indices)

    # -- positions --------------------------------------------------------------------------

    def tell(self, position: dict[str, Any]) -> None:
        """Keep the states in `position`, to load them into the data of each pass."""
        self._states = dict(position["states"])
        self._own = dict(position.get("own", {}))
        self._streams = dict(position.get("streams", {}))
        self._warm = list(position.get("warm", []))

    def go_to(self, position: dict[str, Any], random: dict[str, Any]) -> None:
        """Make the passes of this epoch continue at `position`.

        On arrival there the generators are set to `random`: the epoch has drawn all numbers before
        that point already.
        """
        if position["done"] or position["open"]:  # else no pass had begun
            self._skip = position
            self._random = random

    def position(self) -> dict[str, Any]:
        """Return the present position, as plain data."""
        where: dict[str, Any] = {
            "done": self.done,
            "batches": self.batches,
            "open": self.is_open,
            "states": {
                number: copied(source.state_dict()) for number, source in self._stateful.items()
            },
            "own": {
                number: states_of(reading.generators())
                for number, reading in self._readings.items()
            },
            "streams": {
                number: reading.state()
                for number, reading in self._readings.items()
                if reading in self._iterators and reading is not self._reading and reading.is_held
            },
            "warm": [
                number
                for number, reading in self._readings.items()
                if has_workers(there(reading.source))
            ],
        }
        if self._reading is not None:
            where["began"] = self._reading.began
            where["reading"] = self._reading.state()
        return where

    def skipped(self, data: Data | None) -> bool:
        """Return whether this pass had ended before the checkpoint; count and skip it then."""
        skip = self._skip
        if skip is None or self.done >= skip["done"]:
            return False
        self._tell(data)
        self._place(generators_in(data), self._own.pop(str(self.done), {}))
        self.done += 1
        if self.done == skip["done"] and not skip["open"]:
            self._arrive()
        return True

    def _arrive(self) -> None:
        self._skip = None
        randomness.restore(self._random, self._generators)

    def _tell(self, source: Any) -> bool:
        """Load the saved position into data that has positions; return whether there was one."""
        if not self._resumable or not _tells_position(source):
            return False
        number = str(self.done)
        self._stateful[number] = source
        if number not in self._states:
            return False
        source.load_state_dict(self._states.pop(number))
        return True

    # -- going through data -----------------------------------------------------------------

    def open(self, data: Data | None) -> Iterator[Any] | None:
        """Return an iterator over data, at the position where the pass begins.

        Raises `DataDiffers` if replayed data is not the same as before.
        """
        skip, self.is_open = self._skip, True
        self.gone_through = bool(skip)
        self.batches = skip["batches"] if skip else 0
        if data is None:
            if skip:
                self._arrive()
            return None
        if not self._resumable:
            self._reading = DataReading(data)
            self._reading.source = _asked_for(data)
            unseen: Iterator[Any] = iter(self._reading.source)
            return unseen
        number = str(self.done)
        before = None
        if skip is not None and "began" in skip:
            # A position of an older version has the number of batches, but no reading.
            before = DataReading(data, skip.get("reading") or older(skip))
        elif number in self._streams:
            before = DataReading(data, self._streams.pop(number))
        if before is None:
            return self._begin(data, number)
        return self._again(before, number)

    def _begin(self, data: Data, number: str) -> Iterator[Any]:
        """Open data that is at its start, or where an earlier pass has left it."""
        own = self._own.pop(number, {})
        if number in self._warm:
            self._warm.remove(number)
            _warm_up(data, self._generators)
        reading = DataReading(data)
        self._place(generators_in(data), own)
        reading.began = randomness.capture(self._generators)
        reading.found = states_of(generators_in(data))
        reading.warm = has_workers(data)
        source = reading.source = _asked_for(data)
        self._iterators = [known for known in self._iterators if known.is_held]
        for known in self._iterators:
            if there(known.source) is source:
                known.data, known.source = data, source
                self._keep(known, number)
                rest: Iterator[Any] = iter(source)
                return rest
        self._told = self._tell(source)
        if source is not data:
            fresh = generators_in(source, "batches")
            self._place(fresh, own)
            reading.found |= states_of(fresh)
        iterator, reading.indices = opened(source)
        if iterator is source:
            self._iterators.append(reading)
        self._keep(reading, number)
        return iterator

    def _keep(self, reading: DataReading, number: str) -> None:
        self._reading = self._readings[number] = reading

    def _again(self, reading: DataReading, number: str) -> Iterator[Any]:
        """Open data that an earlier session left in the middle, and replay it up to there."""
        now = randomness.capture(self._generators)
        own = self._own.pop(number, {})
        if number in self._warm:
            self._warm.remove(number)
        if reading.warm:
            _warm_up(reading.data, self._generators)
        before = state_print(reading.data)
        source, iterator = self._asked_again(reading)
        if iterator is None:
            iterator, reading.indices = opened(source)
        else:
            iterator = self._gone_through(reading, iterator, before)
        if iterator is reading.source:
            self._iterators.append(reading)
        self._keep(reading, number)
        if self._skip is not None:
            self._arrive()
        else:
            randomness.restore(now, self._generators)
        if not self._told:
            generators = reading.generators()
            set_states(generators, own)
            self._placed |= {id(one): one for one in generators.values()}
        return iterator

    def _place(self, generators: Mapping[str, Any], states: Mapping[str, Any]) -> None:
        """Restore the states of generators, each once: several passes may share a generator."""
        if states:
            new = {path: one for path, one in generators.items() if id(one) not in self._placed}
            set_states(new, states)
            self._placed |= {id(one): one for one in new.values()}

    def _asked_again(self, reading: DataReading) -> tuple[Any, Iterator[Any] | None]:
        """Open data with the generators as they were; return the data and an iterator over it.

        The iterator is None if the data has loaded its own position.
        """
        set_states(generators_in(reading.data), reading.found)
        randomness.restore(reading.began or {}, self._generators)
        source = reading.source = _asked_for(reading.data)
        self._told = self._tell(source)
        if self._told:
            return source, None
        if source is not reading.data:
            set_states(generators_in(source, "batches"), reading.found)
        iterator, reading.indices = opened(source)
        return source, iterator

    def _gone_through(
        self, reading: DataReading, iterator: Iterator[Any], before: int
    ) -> Iterator[Any]:
        wanted = {at: value for at, value in reading.prints.kept}  # noqa: C416 - lists of two
        first = go_through(iterator, reading, wanted)
        if not self._checks or first == wanted:
            return iterator
        after = state_print(reading.data)
        number = min(at for at in wanted if first[at] != wanted[at])
        if iterator is reading.data:  # it cannot be opened a second time
            raise differs(number, reading)
        _close(iterator, reading.source)
        _, second = self._asked_again(reading)
        again = {} if second is None else go_through(second, reading, wanted)
        if second is not None and again == wanted:
            return second  # the data depends on how often it was opened
        # If opening the data changes it, the two openings did not begin from the same state.
        if second is None or again == first or before != after:
            raise differs(number, reading)
        warnings.warn(
            f"the data is random: batch {number} came otherwise twice, with all that draws it as "
            "it was. The training goes on at the like position of other data; replay='trust' says "
            "that this is meant",
            TrainingLogWarning,
            stacklevel=2,
        )
        return second

    def exhausted(self, iterator: Iterator[Any]) -> Iterator[Any] | None:
        """End a pass whose data is exhausted; return None, or an iterator to continue with.

        Raises `NoBatches` if the data has yielded no batch at all.
        """
        assert self._reading is not None  # noqa: S101 - the pass is open
        source, batches = self._reading.source, self.batches
        if batches == 0 and self._told:  # it has loaded a position at its end: now it begins anew
            self._told = False
            again, self._reading.indices = opened(source)
            return again
        self._iterators = [known for known in self._iterators if there(known.source) is not source]
        self.close()
        used_up = any(source is used for used in self._used_up)
        if batches == 0:
            raise NoBatches(
                "the data is an iterator that an earlier epoch has used up: pass something that "
                "can be iterated over anew, such as a list, or a function that makes the "
                "iterator: loop.iter_steps(lambda: batches())"
                if used_up
                else "the data has no batches: an epoch must have at least one step"
            )
        if source is iterator and not used_up:
            self._used_up.append(source)
        return None

    def leave(self, iterator: Iterator[Any] | None) -> None:
        """End the pass if it is still open, and close the iterator that was opened for it."""
        source = None if self._reading is None else self._reading.source
        if self.is_open:
            self.close()
        _close(iterator, source)

    def close(self) -> None:
        """End the pass."""
        self.done += 1
        self.batches = 0
        self.is_open = False
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.let_go()


def _asked_for(data: Data) -> Any:
    source: Any = data() if callable(data) and not _iterable(data) else data
    if not _iterable(source):
        raise TypeError(
            f"steps are taken over batches that can be iterated over, not a {type(source).__name__}"
        )
    return source


def _warm_up(data: object, generators: Mapping[str, Any]) -> None:
    """Start persistent workers, which ran before the checkpoint; undo the draws of their start."""
    if getattr(data, "persistent_workers", False) and getattr(data, "_iterator", None) is None:
        before = randomness.capture(generators)
        own = generators_in(data)
        states = states_of(own)
        opened(data)
        randomness.restore(before, generators)
        set_states(own, states)


def _close(iterator: Iterator[Any] | None, source: object) -> None:
    if isinstance(iterator, Generator) and iterator is not source:
        iterator.close()


def _iterable(data: object) -> bool:
    return hasattr(data, "__iter__") or hasattr(data, "__getitem__")


def _tells_position(data: object) -> bool:
    return callable(getattr(data, "state_dict", None)) and callable(
        getattr(data, "load_state_dict", None)
    )
