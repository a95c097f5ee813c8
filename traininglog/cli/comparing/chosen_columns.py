"""The columns that `--columns` names: facts of runs, and globs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from traininglog.cli.mistakes import Mistake
from traininglog.query.expression import Named
from traininglog.query.names import FAMILIES
from traininglog.query.question import facts_of
from traininglog.run_info import described
from traininglog.selection import is_glob
from traininglog.values import StoredValue

if TYPE_CHECKING:
    from traininglog.run_info import RunInfo
    from traininglog.sqlite.store import Store

_DESCRIBED = ("config", "tags")


class ChosenColumns:
    """The facts of runs to show.

    Args:
        store: The store, which knows the keys.
        patterns: Names as in an expression, or with a glob as the key, such as ``max.val_*``.

    Raises:
        KeyError: A glob fits no key.
        Mistake: A glob stands where no key can.

    """

    def __init__(self, store: Store, patterns: Sequence[str]) -> None:
        #: A name, or a pair of config or tags and a glob, in the order asked for.
        self._asked: list[str | tuple[str, str]] = []
        for pattern in patterns:
            family, dot, key = pattern.partition(".")
            if not (dot and is_glob(key) and '"' not in key and "'" not in key):
                if is_glob(pattern) and "[" not in pattern:
                    raise Mistake(
                        f"{pattern!r} is a glob of no family: write config.*, tags.*, last.*, "
                        "min.*, max.* or best.*"
                    )
                self._asked.append(pattern)
            elif family in _DESCRIBED:
                self._asked.append((family, key))
            elif family in FAMILIES:
                self._asked += [str(Named(family, each)) for each in store.keys_seen(key)]
            else:
                raise Mistake(f"{family!r} is no family: there are {', '.join(FAMILIES)}")

    @property
    def names(self) -> list[str]:
        """The names to ask a store for."""
        return [name for name in self._asked if isinstance(name, str)]

    def of(self, infos: Sequence[RunInfo]) -> dict[str, list[StoredValue]]:
        """Return the columns of some runs, which were asked for with `names`."""
        found: dict[str, list[StoredValue]] = {}
        for asked in self._asked:
            if isinstance(asked, str):
                found |= facts_of(infos, asked)
            else:
                family, glob = asked
                patterns = {family: glob}
                found |= described(infos, patterns.get("config"), patterns.get("tags"))
        return found
