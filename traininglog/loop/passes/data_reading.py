"""One way through data: what it had, what its generators were, and what its batches looked like."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from traininglog.loop.errors import DataDiffers, NoBatches
from traininglog.loop.passes.fingerprints import Indices, Prints, fingerprint
from traininglog.loop.passes.generators import generators_in

END: Any = object()  #: what comes after the last batch


class DataReading:
    """One way through data, from its start: a pass, or an iterator over several of them."""

    def __init__(self, data: Any, state: Mapping[str, Any] | None = None) -> None:
        self.data = data  #: as the program gave it: the data, or a function
        self.source: Any = None
        self.had = 0  #: batches
        self.began: dict[str, Any] | None = None  #: the generators, before it was asked for
        self.found: dict[str, Any] = {}  #: those of its own, by where they are
        self.warm = False  #: whether its workers had been running
        self.prints = Prints()
        self.indices: Indices | None = None
        if state is not None:
            self.had, self.began = state["had"], state["began"]
            self.found, self.warm = dict(state["found"]), state["warm"]
            self.prints = Prints(state["prints"])

    def state(self) -> dict[str, Any]:
        """Return what is needed to go through it again, as plain data."""
        return {
            "had": self.had, "began": self.began, "found": self.found, "warm": self.warm,
            "prints": [list(entry) for entry in self.prints.kept],
        }  # fmt: skip

    def generators(self) -> dict[str, Any]:
        """Return the generators that the data has now."""
        data, source = there(self.data), there(self.source)
        found = generators_in(data)
        if source is not data:
            found |= generators_in(source, "batches")
        return found

    def let_go(self) -> None:
        """Keep nothing alive after a pass but what a later one may have to know of."""
        if self.is_iterator:
            self.data, self.source = _weakly(self.data), _weakly(self.source)
        elif not self.generators() and not has_workers(self.source):
            self.data = self.source = None

    @property
    def is_iterator(self) -> bool:
        """Whether a later pass would go on where this one ended."""
        return hasattr(there(self.source), "__next__")

    @property
    def is_held(self) -> bool:
        """Whether the program has the data still, and not we alone."""
        source = self.source
        if isinstance(source, weakref.ref):
            return source() is not None
        # What cannot be referred to weakly, such as a zip: held by us, twice perhaps, by the name
        # here and by who counts.
        return source is not None and sys.getrefcount(source) > 3 + (source is self.data)


def go_through(
    iterator: Iterator[Any], reading: DataReading, wanted: Mapping[int, int]
) -> dict[int, int]:
    """Go through as many batches as were had; return the fingerprints that are wanted."""
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
    """Return what to raise where a batch is another one than it was."""
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
    """Return what an older version's position tells of a reading."""
    return {
        "had": position["batches"], "began": position["began"], "found": {}, "warm": False,
        "prints": [],
    }  # fmt: skip


def has_workers(source: Any) -> bool:
    """Tell whether a loader has workers that persist, and that have begun."""
    return bool(getattr(source, "persistent_workers", False)) and (
        getattr(source, "_iterator", None) is not None
    )


def there(thing: Any) -> Any:
    """Return what may be referred to weakly; None if it is gone."""
    return thing() if isinstance(thing, weakref.ref) else thing


def _weakly(thing: Any) -> Any:
    """Return a weak reference to an iterator, as far as there can be one; all else as it is."""
    if not hasattr(thing, "__next__"):
        return thing
    try:
        return weakref.ref(thing)
    except TypeError:
        return thing
