"""The data of an epoch, and the position in it.

A position is the number of the pass over data in its epoch and the number of batches that were
had. Data that can tell its own position, by `state_dict` and `load_state_dict`, is asked for it.
All other data is gone through from the start again, up to the position, with the random generators
as they were when the pass began, so that what is shuffled anew at each pass comes in the same
order.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from typing import Any

from traininglog.loop import randomness
from traininglog.loop.errors import NoBatches
from traininglog.loop.trees import copied

Data = Iterable[Any] | Callable[[], Iterable[Any]]


class Passes:
    """The passes over data in the epoch that is open.

    Args:
        generators: The program's own random generators, by name.
        resumable: Whether positions are to be asked for. If not, nothing is kept for them.

    """

    def __init__(self, generators: Mapping[str, Any], *, resumable: bool) -> None:
        self._generators = generators
        self._resumable = resumable
        self._source: Any = None
        self._began: dict[str, Any] | None = None  # the generators, when the pass began
        self._stateful: dict[str, Any] = {}  # by number of the pass, data that tells its position
        self._used_up: list[Any] = []
        self._skip: dict[str, Any] | None = None
        self._states: dict[str, Any] = {}  # positions that data has yet to be told
        self._random: dict[str, Any] = {}
        self._told = False
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Begin with the first pass."""
        self.gone_through = False  #: whether the pass that is open was gone through up to here
        self.done = 0  #: passes that have come to their end
        self.batches = 0  #: had in the pass that is open
        self.is_open = False
        self._source = None

    def tell(self, position: dict[str, Any]) -> None:
        """Let data that tells its position begin where `position` says."""
        self._states = dict(position["states"])

    def go_to(self, position: dict[str, Any], random: dict[str, Any]) -> None:
        """Let the passes of this epoch begin where `position` says.

        There the generators are set to `random`: what the epoch draws before it gets there has been
        drawn already.
        """
        self._skip = position
        self._random = random

    def position(self) -> dict[str, Any]:
        """Return where we are, as plain data."""
        where: dict[str, Any] = {
            "done": self.done,
            "batches": self.batches,
            "open": self.is_open,
            "states": {
                number: copied(source.state_dict()) for number, source in self._stateful.items()
            },
        }
        if self._source is not None:
            where["began"] = self._began
        return where

    def skipped(self, data: Data | None) -> bool:
        """Tell whether this pass had come to its end before the checkpoint was made."""
        skip = self._skip
        if skip is None or self.done >= skip["done"]:
            return False
        self._tell(data)
        self.done += 1
        if self.done == skip["done"] and not skip["open"]:
            self._arrive()
        return True

    def _arrive(self) -> None:
        self._skip = None
        randomness.restore(self._random, self._generators)

    def _tell(self, source: Any) -> bool:
        """Tell data where to begin, if it wants to know and we know."""
        if not self._resumable or not _tells_position(source):
            return False
        number = str(self.done)
        self._stateful[number] = source
        if number not in self._states:
            return False
        source.load_state_dict(self._states.pop(number))
        return True

    def open(self, data: Data | None) -> Iterator[Any] | None:
        """Return an iterator over data, at the position where the pass is to begin."""
        skip, self.is_open = self._skip, True
        self.gone_through = bool(skip)
        self.batches = skip["batches"] if skip else 0
        if data is None:
            if skip:
                self._arrive()
            return None
        source: Any = data() if callable(data) and not _iterable(data) else data
        if not _iterable(source):
            raise TypeError(
                f"steps are taken over batches that can be iterated over, not a "
                f"{type(source).__name__}"
            )
        self._source = source
        told = self._told = self._tell(source)
        if skip is None or "began" not in skip:
            self._began = randomness.capture(self._generators) if self._resumable else None
            fresh: Iterator[Any] = iter(source)
            return fresh
        self._began = skip["began"]
        iterator: Iterator[Any] = iter(source) if told else self._gone_through(source)
        self._arrive()
        return iterator

    def _gone_through(self, source: Iterable[Any]) -> Iterator[Any]:
        randomness.restore(self._began or {}, self._generators)
        iterator = iter(source)
        for _ in range(self.batches):
            if next(iterator, _END) is _END:
                raise NoBatches(
                    f"the data ends before batch {self.batches}, at which the checkpoint was made: "
                    "it must be the same data as then"
                )
        return iterator

    def exhausted(self, iterator: Iterator[Any]) -> Iterator[Any] | None:
        """End a pass that has come to its end; return None, or what is to be gone on with.

        Raises `NoBatches` if it gave nothing at all.
        """
        source, batches = self._source, self.batches
        if batches == 0 and self._told:  # it was told that it is at its end: now it begins
            self._told = False
            again: Iterator[Any] = iter(source)
            return again
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
        """End the pass, if it was not at its end, and close what was opened for it."""
        source = self._source
        if self.is_open:
            self.close()
        if isinstance(iterator, Generator) and iterator is not source:
            iterator.close()

    def close(self) -> None:
        """End the pass."""
        self.done += 1
        self.batches = 0
        self.is_open = False
        self._source = None


_END = object()


def _iterable(data: Any) -> bool:
    return hasattr(data, "__iter__") or hasattr(data, "__getitem__")


def _tells_position(data: Any) -> bool:
    return callable(getattr(data, "state_dict", None)) and callable(
        getattr(data, "load_state_dict", None)
    )
