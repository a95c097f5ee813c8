"""The text of a document in pieces, so that only changed pieces are parsed and formatted again.

Each record and each run is a piece. A change to a document of many trials concerns one or two of
them, and parsing JSON, or formatting it for people, takes far longer than joining texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Self

from traininglog.plain_json import compact
from traininglog.trial_records import KINDS, made_of
from traininglog.values import StoredValue

_IN_PIECES = (*KINDS, "logs")


class DocumentPiece:
    """The JSON of a record or a run. It never changes.

    Args:
        kind: One of `KINDS`, or ``"logs"``.
        uid: Its UID in that kind.
        value: The record or run.
        before: The earlier piece of this UID. Its text for people is kept if the value is the same.

    Raises `ValueError` for a number that JSON does not have.
    """

    __slots__ = ("_for_people", "_uid", "made", "short")

    def __init__(
        self, kind: str, uid: str, value: Any, before: DocumentPiece | None = None
    ) -> None:
        self._uid = uid
        self.short = compact(value)  #: the shortest JSON
        #: The moment by which a record is ordered; None for a run.
        self.made = None if kind == "logs" else made_of(value)
        # Not compared by ==, for which 1, 1.0 and True are equal.
        same = before is not None and before.short == self.short
        self._for_people: str | None = before._for_people if before is not None and same else None

    def value(self) -> Any:
        """Return the record or run, which the caller may change."""
        return json.loads(self.short)

    def text(self) -> str:
        """Return the text of the piece in the document, formatted for people."""
        if self._for_people is None:  # most readers of a document never write it
            self._for_people = f"  {json.dumps(self._uid)}: {_indented(self.value(), 2)}"
        return self._for_people


class LazyRecords(MutableMapping[str, Any]):
    """The records of a kind, or the runs, by UID. Each is parsed at its first access.

    Args:
        kind: One of `KINDS`, or ``"logs"``.
        pieces: The pieces, which this object does not change.

    """

    def __init__(self, kind: str, pieces: Mapping[str, DocumentPiece]) -> None:
        self._kind = kind
        self._pieces: dict[str, DocumentPiece | None] = dict(pieces)  # None: the value is new
        self._values: dict[str, Any] = {}  # the parsed values, which may have been changed

    def __getitem__(self, uid: str) -> Any:
        if uid in self._values:
            return self._values[uid]
        piece = self._pieces[uid]
        assert piece is not None  # noqa: S101 - a new one has a value
        found = self._values[uid] = piece.value()
        return found

    def __setitem__(self, uid: str, value: object) -> None:
        self._pieces.setdefault(uid, None)
        self._values[uid] = value

    def __delitem__(self, uid: str) -> None:
        del self._pieces[uid]
        self._values.pop(uid, None)

    def __contains__(self, uid: object) -> bool:
        return uid in self._pieces

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __len__(self) -> int:
        return len(self._pieces)

    def newest(self) -> float | None:
        """Return the moment by which the last record is ordered, or None if there is none."""
        values, pieces = self._values, self._pieces
        known = [piece.made for uid, piece in pieces.items() if piece and uid not in values]
        moments = [*known, *map(made_of, values.values())]
        return max((moment for moment in moments if moment is not None), default=None)

    def pieces(self) -> dict[str, DocumentPiece]:
        """Return the pieces of the current values."""
        made = {}
        for uid, piece in self._pieces.items():
            if piece is None or uid in self._values:
                made[uid] = DocumentPiece(self._kind, uid, self._values[uid], piece)
            else:
                made[uid] = piece
        return made


class Pieces:
    """A whole document in pieces. It never changes.

    Args:
        contents: The contents of the document: for each kind a dict or `LazyRecords`.
        before: The pieces of the document before a change.

    Raises `ValueError` for a number that JSON does not have.
    """

    def __init__(self, contents: Mapping[str, Any], before: Pieces | None = None) -> None:
        self._kinds: dict[str, dict[str, DocumentPiece]] = {}
        self._rest: dict[str, Any] = {}
        self._names = list(contents)
        for name, value in contents.items():
            if name not in _IN_PIECES:
                self._rest[name] = compact(value)
            elif isinstance(value, LazyRecords):
                self._kinds[name] = value.pieces()
            else:
                known = {} if before is None else before._kinds.get(name, {})
                self._kinds[name] = {
                    uid: DocumentPiece(name, uid, piece, known.get(uid))
                    for uid, piece in value.items()
                }

    @classmethod
    def none(cls, **more: object) -> Self:
        """Return the pieces of a document without records."""
        return cls({**more, **{name: {} for name in _IN_PIECES}})

    def contents(self) -> dict[str, Any]:
        """Return the contents of the document, which the caller may change."""
        return {
            name: LazyRecords(name, self._kinds[name])
            if name in self._kinds
            else json.loads(self._rest[name])
            for name in self._names
        }

    def texts(self) -> Iterator[str]:
        """Yield the text of the document in parts, as ``json.dumps(contents, indent=1)`` has it."""
        before = "{\n"
        for name in self._names:
            key, pieces = json.dumps(name), self._kinds.get(name)
            if pieces:
                before += f" {key}: {{\n"
                for piece in pieces.values():
                    yield before
                    yield piece.text()
                    before = ",\n"
                yield "\n }"
            else:
                value = {} if pieces is not None else json.loads(self._rest[name])
                yield f"{before} {key}: {_indented(value, 1)}"
            before = ",\n"
        yield "\n}"


def _indented(value: StoredValue, depth: int) -> str:
    # In JSON a quoted text contains no newlines.
    return json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n" + " " * depth)
