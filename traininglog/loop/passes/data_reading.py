"""One reading of data: its number of batches, random states, and fingerprints of its batches."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from traininglog.loop.errors import DataDiffers, NoBatches
from traininglog.loop.passes.fingerprints import Indices, Prints, fingerprint
from traininglog.loop.passes.generators import generators_in

END: Any = object()  #: stands for the end of the data


class DataReading:
    """One reading of data from its start: in one pass, or by an iterator in several passes."""

    def __init__(self, data: Any, state: Mapping[str, Any] | None = None) -> None:
        self.data = data  #: as the program passed it: the data, or a function that returns it
        self.source: Any = None  #: the data itself
        self.had = 0  #: batches read so far
        self.began: dict[str, Any] | None = None  #: random states before the data was opened
        self.found: dict[str, Any] = {}  #: states of generators in the data, by their path
        self.warm = False  #: whether persistent workers ran before it was opened
        self.prints = Prints()
        self.indices: Indices | None = None
        if state is not None:
            self.had, self.began = state["had"], state["began"]
            self.found, self.warm = dict(state["found"]), state["warm"]
            self.prints = Prints(state["prints"])

    def state(self) -> dict[str, Any]:
        """Return all that a replay needs, as plain data."""
        return {
            "had": self.had, "began": self.began, "found": self.found, "warm": self.warm,
            "prints": [list(entry) for entry in self.prints.kept],
        }  # fmt: skip

    def generators(self) -> dict[str, Any]:
        """Return the random generators that the data contains now, by their path."""
        data, source = there(self.data), there(self.source)
        found = generators_in(data)
        if source is not data:
            found |= generators_in(source, "batches")
        return found

    def let_go(self) -> None:
        """Drop the references to data after a pass, except those that a later position needs."""
        if self.is_iterator:
            self.data, self.source = _weakly(self.data), _weakly(self.source)
        elif not self.generators() and not has_workers(self.source):
            self.data = self.source = None

    @property
    def is_iterator(self) -> bool:
        """Whether the data is its own iterator: a later pass continues where this one ended."""
        return hasattr(there(self.source), "__next__")

    @property
    def is_held(self) -> bool:
        """Whether the program still holds the data, beside this object."""
        source = self.source
        if isinstance(source, weakref.ref):
            return source() is not None
        # Some iterators, as a zip, allow no weak reference. So count references: `self.source`
        # (and `self.data`, if it is the same), the name here and getrefcount's argument are ours.
        return source is not None and sys.getrefcount(source) > 3 + (source is self.data)


def go_through(
    iterator: Iterator[Any], reading: DataReading, wanted: Mapping[int, int]
) -> dict[int, int]:
    """Replay the batches of a reading; return the fingerprints of those in `wanted`.

    Raises `NoBatches` if the data ends earlier.
    """
    found = {}
    for number in range(1, reading.had + 1):
        batch = next(iterator, END)
        if batch is END:
            raise NoBatches(
                f"the data ends before batch {reading.had}, at which the checkpoint was made: "
                "it must be the same data as then"
            )
        index = None if reading.indices is None else reading.indices.take()
        if number in wanted:
            found[number] = fingerprint(batch) if index is None else index
    return found


def differs(number: int, reading: DataReading) -> DataDiffers:
    """Return the error for a batch that differs from the earlier one."""
    saved = ", ".join(sorted(reading.found)) or "none"
    return DataDiffers(
        f"the data is not what it was: batch {number} of this pass is another than the one that "
        "was trained on before the checkpoint was made, so that some examples would come twice and "
        "some never. Something that its order comes from was not saved (random generators found "
        f"in it, and saved: {saved}). Save it: as a generator in checkpoint_save_objects, or by "
        "state_dict() and load_state_dict() of the data; or make the data by a function, "
        "iter_steps(function), that draws from the generators when it is called. For data that is "
        "meant to be random pass replay='trust'"
    )


def older(position: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a reading from a position that an older version wrote."""
    return {
        "had": position["batches"], "began": position["began"], "found": {}, "warm": False,
        "prints": [],
    }  # fmt: skip


def has_workers(source: object) -> bool:
    """Return whether a loader has persistent workers that have started."""
    return bool(getattr(source, "persistent_workers", False)) and (
        getattr(source, "_iterator", None) is not None
    )


def there(thing: object) -> Any:
    """Return the object of a weak reference, None if it is gone; anything else as it is."""
    return thing() if isinstance(thing, weakref.ref) else thing


def _weakly(thing: object) -> Any:
    """Return a weak reference to an iterator that allows one; anything else as it is."""
    if not hasattr(thing, "__next__"):
        return thing
    try:
        return weakref.ref(thing)
    except TypeError:
        return thing
