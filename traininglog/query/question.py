"""A question about the runs of a store: which to return, and in which order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from traininglog.query.evaluation import Evaluation, check_name, in_order
from traininglog.query.expression import Named, names_in
from traininglog.query.names import MISSING, fact_of
from traininglog.query.parser import parse, parse_name
from traininglog.run_info import RunInfo
from traininglog.selection import names


class Question:
    """Which runs to return, and in which order.

    Args:
        where: An expression that holds for the runs to return; None: all.
        also: Facts that are needed besides.
        sort: Names to sort by, such as ``max.val_acc``; with a ``-`` before it the greatest first.
            By default runs stay in the order in which they were made.

    Raises:
        BadQuery: `where` is no expression, or `sort` no name.

    """

    def __init__(
        self,
        where: str | None = None,
        sort: str | Iterable[str] | None = None,
        *,
        also: Iterable[Named] = (),
    ) -> None:
        self._also = tuple(also)
        self._where = where
        self._expression = None if where is None else parse(where)
        self._order: list[tuple[Named, bool, str]] = []
        for asked in names(sort) or ():
            text = asked.strip()
            descending = text.startswith("-")
            text = text[1:].lstrip() if descending else text
            self._order.append((parse_name(text), descending, text))

    @property
    def chooses(self) -> bool:
        """Whether it leaves out runs."""
        return self._expression is not None

    @property
    def sorts(self) -> bool:
        """Whether it asks for an order."""
        return bool(self._order)

    def names(self) -> list[Named]:
        """Return the facts of runs that it needs."""
        found = [] if self._expression is None else list(names_in(self._expression))
        return [*found, *(name for name, _, _ in self._order), *self._also]

    def keys(self, *families: str) -> list[str]:
        """Return the keys that it needs of some families, as of ``min`` and ``best``."""
        found = (name.key for name in self.names() if name.family in families)
        return list(dict.fromkeys(key for key in found if key is not None))

    def answer(self, infos: Sequence[RunInfo]) -> list[RunInfo]:
        """Return those of some runs that are asked for, in the order that is asked for.

        Raises:
            BadQuery: No run has one of the names, or a comparison has no sense.

        """
        found = list(infos)
        if self._expression is not None:
            found = Evaluation(self._expression, self._where or "").holding(infos)
        asked = [(name, text) for name, _, text in self._order]
        for name, text in [*asked, *((name, str(name)) for name in self._also)]:
            if infos:
                check_name(name, infos, text)
        return in_order(found, [(name, descending) for name, descending, _ in self._order])


def facts_of(infos: Sequence[RunInfo], columns: str | Iterable[str]) -> dict[str, list[Any]]:
    """Return facts of runs as columns, by the names that were asked for; None where there is none.

    Args:
        infos: The runs, which were asked for with these columns.
        columns: Names, such as ``max.val_acc``.

    Raises:
        BadQuery: One of them is no name.

    """
    wanted = {text: parse_name(text) for text in names(columns) or ()}
    facts = {text: [fact_of(info, name) for info in infos] for text, name in wanted.items()}
    return {
        text: [None if value is MISSING else value for value in values]
        for text, values in facts.items()
    }
