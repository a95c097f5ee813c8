"""The text of a document, of which only what has changed is written out anew.

Each record and each run is a piece. Of a document of many trials a change concerns one or two, and
writing JSON for people takes far longer than telling whether a piece is as it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from traininglog.trial_records import KINDS
from traininglog.values import StoredValue

_IN_PIECES = (*KINDS, "logs")

Known = dict[tuple[str, str], tuple[str, str]]


class Pieces:
    """Writes one document again and again, as ``json.dumps(contents, indent=1)`` would."""

    def __init__(self) -> None:
        #: By kind and UID: each piece of the text that was made last, in short and for people. It
        #: stays as it is: the next text gets another dict.
        self.known: Known = {}

    def texts(self, contents: Mapping[str, StoredValue]) -> tuple[str, str]:
        """Return the document as text for people, and the shortest that says the same.

        Raises `ValueError` for a number that JSON does not have.
        """
        known: Known = {}
        long, short = [], []
        for name, value in contents.items():
            key = json.dumps(name)
            if name in _IN_PIECES and value:
                pieces = [self._piece(known, name, uid, piece) for uid, piece in value.items()]
                long.append(f" {key}: {{\n" + ",\n".join(piece[1] for piece in pieces) + "\n }")
                named = zip(value, pieces, strict=True)
                inner = ",".join(f"{json.dumps(uid)}:{piece[0]}" for uid, piece in named)
                short.append(f"{key}:{{{inner}}}")
            else:
                long.append(f" {key}: {_indented(value, 1)}")
                short.append(f"{key}:{compact(value)}")
        self.known = known  # without what is gone
        return "{\n" + ",\n".join(long) + "\n}", f"{{{','.join(short)}}}"

    def _piece(self, known: Known, kind: str, uid: str, piece: object) -> tuple[str, str]:
        # Not told by ==, to which 1, 1.0 and True are the same.
        short = compact(piece)
        found = self.known.get((kind, uid))
        if found is None or found[0] != short:
            found = short, f"  {json.dumps(uid)}: {_indented(piece, 2)}"
        known[kind, uid] = found
        return found


def compact(value: StoredValue) -> str:
    """Return a value as the shortest JSON, which is made and read ten times as fast."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _indented(value: StoredValue, depth: int) -> str:
    # What is between quotes has no newlines in JSON.
    return json.dumps(value, indent=1, allow_nan=False).replace("\n", "\n" + " " * depth)
