"""A plain dictionary of dictionaries: the least that an assignment can cost; it keeps nothing."""

from __future__ import annotations

import platform
from collections import defaultdict

from peer import Peer, Row, main


class Plain(Peer):
    """log[step][key] = value"""

    volatile = True

    def start(self, name: str) -> str:
        self.rows: defaultdict[int, Row] = defaultdict(dict)
        return name

    def log(self, step: int, row: Row) -> None:
        for key, value in row.items():
            self.rows[step][key] = value

    def finish(self) -> None:
        """Do nothing: there is no file."""


main({"": Plain}, f"Python {platform.python_version()}")
