"""The rest of a journal: its records past the position that its store has.

Recovery reads it after a writer has died, and a view reads it to see what a live one has assigned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from traininglog.journal.credible import NOT_AS_WRITTEN, is_credible
from traininglog.journal.gaps import Gap
from traininglog.journal.order import Order
from traininglog.journal.reader import BoundlessRegion, Contents, LeftRegion
from traininglog.journal.record import Batch, DamagedRecord

#: The damage of records with right checksums and impossible contents.
INCREDIBLE = "holds what no log writes"


class Rest(NamedTuple):
    """The records of a journal past a position."""

    batch: Batch
    end: int
    gap: Gap | None
    damage: str | None  #: why there may be more; for people

    def credible(self, names: Mapping[int, str]) -> Rest:
        """Return the same, but without its records if no log can have written them.

        Args:
            names: The names of all keys of the run, by their numbers.

        """
        if is_credible(self.batch, names):
            return self
        return Rest(Batch(), self.end - self.batch.size, None, INCREDIBLE)


def read_rest(
    contents: Contents, start: int | None, cut: tuple[LeftRegion, int] | None = None
) -> Rest:
    """Read the records of a journal past a position (None: all).

    Args:
        contents: The contents of the journal.
        start: The position.
        cut: A damaged region, and the byte from which on it is damaged.

    """
    regions = contents.regions
    batch = Batch()
    if not regions:
        return Rest(batch, start or 0, None, None)
    if start is None:
        start = regions[0].base
    # The regions before the one that holds `start` were flushed, and may be half erased.
    first = max((at for at, region in enumerate(regions) if region.base <= start), default=0)
    position = start
    gap = None
    for region in regions[first:]:
        if region.base > position:
            # After a power cut, the database may be at an earlier position than the one at which
            # the journal begins; or a region in between is damaged. Replay must stay a prefix.
            return Rest(batch, position, gap, "does not follow on what is in the database")
        before = batch.size
        skip = position - region.base
        try:
            data = region.read()
            if cut is not None and cut[0] is region:
                data = data[: cut[1]]
            order = Order(region.tag, counted=region.counted, skip=skip)
            batch.add(data, order, skip)
        except DamagedRecord as error:
            if error.cut is not None and cut is None:
                return read_rest(contents, start, (region, error.cut))
            position += batch.size - before
            torn = error.torn
            said = None if torn else "is damaged"
            return Rest(batch, position, gap, said)
        except BoundlessRegion:
            return Rest(batch, position, gap, "claims far more than it takes on the disk")
        except NOT_AS_WRITTEN:
            return Rest(Batch(), start, None, INCREDIBLE)
        position += batch.size - before
        if cut is not None and cut[0] is region:
            return Rest(batch, position, gap, "is damaged")
        gap = region.gap
    return Rest(batch, position, gap, None)
