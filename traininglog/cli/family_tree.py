"""The family of a run as a tree: what it was resumed from, and what else went on from those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

if TYPE_CHECKING:
    from traininglog.lineage import Ancestor
    from traininglog.run_info import RunInfo

#: The maximal number of runs of the lineage itself; a longer one is cut in the middle.
MOST_ANCESTORS = 12
#: The maximal number of runs beside the lineage.
MOST_ASIDE = 24


class Branch(NamedTuple):
    """A line of a tree."""

    lines: str  #: what connects it with the lines above
    run: UUID | None  #: None: the line stands for runs that are not drawn
    left_out: int = 0  #: how many those are


class FamilyTree:
    """A run, its ancestors, and the runs that go on from any of these, or accompany them.

    Args:
        lineage: The run and its ancestors, the nearest first.
        infos: All the runs of the store.

    """

    def __init__(self, lineage: Sequence[Ancestor], infos: Mapping[UUID, RunInfo]) -> None:
        self._path = [item.uuid for item in reversed(lineage)]
        self._next = dict(pairwise(self._path))
        self._children: dict[UUID, list[UUID]] = defaultdict(list)
        for info in infos.values():
            parent = info.resumed_from or info.part_of
            if parent is not None and info.uuid not in self._path[:1]:
                self._children[parent].append(info.uuid)
        self._aside = MOST_ASIDE
        kept = MOST_ANCESTORS - 2
        self._gap = self._path[2:-kept] if len(self._path) > MOST_ANCESTORS else []

    def branches(self) -> Iterator[Branch]:
        """Yield the lines of the tree from the root on, the lineage of the run last of each group.

        Call it once. A run is drawn once, also if a damaged file has a circle.
        """
        drawn: set[UUID] = set()
        waiting: list[tuple[UUID, tuple[bool, ...]]] = [(self._path[0], ())]
        while waiting:
            run, more = waiting.pop()
            if run in drawn:
                continue
            drawn.add(run)
            if self._gap and run == self._gap[0]:
                yield Branch(_connected(more), None, len(self._gap))
                waiting.append((self._next[self._gap[-1]], (*more, False)))
                continue
            yield Branch(_connected(more), run)
            shown, left_out = self._shown(run, drawn)
            if left_out:
                last = not shown
                yield Branch(_connected((*more, not last)), None, left_out)
            for number, child in enumerate(reversed(shown)):
                waiting.append((child, (*more, number > 0)))

    def _shown(self, run: UUID, drawn: set[UUID]) -> tuple[list[UUID], int]:
        """Return the children of a run that are drawn, and how many runs beside them are not."""
        next_one = self._next.get(run)
        aside = [child for child in self._children[run] if child not in drawn | {next_one}]
        shown, left_out = aside[: self._aside], aside[self._aside :]
        self._aside -= len(shown)
        hidden = self._and_descendants(left_out)
        return [*shown, *([] if next_one is None else [next_one])], hidden

    def _and_descendants(self, some: Sequence[UUID]) -> int:
        found: set[UUID] = set()
        waiting = [*some]
        while waiting:
            run = waiting.pop()
            if run not in found:
                found.add(run)
                waiting += self._children[run]
        return len(found)


def _connected(more: Sequence[bool]) -> str:
    """Return the lines before a run, by whether others follow at each level above it."""
    if not more:
        return ""
    above = "".join("│  " if others else "   " for others in more[:-1])
    return above + ("├─ " if more[-1] else "└─ ")
