"""Those who are measured beside each other: every way of every peer that can be had.

`Contenders` finds them and says who is missing and why. Each `Contender` does the works that are
described in `peers/peer.py`, each work in a process of its own, with its own Python.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

from environments import PEERS, Unavailable, python_of, surroundings

#: Those that can do their work with what traininglog's own environment has.
PLAIN = ("traininglog", "defaultdict", "csv", "parquet", "sqlite3")

#: After how many seconds one work is given up.
PATIENCE = 900

_SCRIPTS = Path(__file__).resolve().parent / "peers"


class Failed(Exception):
    """A contender did not do a work, for the reason given."""


@dataclass(frozen=True)
class Contender:
    """One way of one peer."""

    peer: str
    way: str
    version: str
    python: Path
    route: str
    most_values: int
    most_runs: int
    keeps: float
    volatile: bool
    configures: bool  # whether it keeps what a run was started with
    main: bool  # the way that is measured where one of a peer's is enough

    @property
    def label(self) -> str:
        """What the tables call it."""
        name = PEERS[self.peer].name
        return f"{name}, {self.way}" if self.way else name

    @property
    def ours(self) -> bool:
        """Whether it is traininglog."""
        return self.peer == "traininglog"

    @property
    def stored(self) -> bool:
        """Whether it is the main way of a peer that keeps anything in files."""
        return self.main and self.peer != "defaultdict"

    @property
    def installed(self) -> bool:
        """Whether it is a package that had to be installed for this."""
        return self.peer not in PLAIN

    def rows(self, wanted: int, keys: int = 10) -> int:
        """Return how many rows it is given where so many are wanted."""
        return max(2, min(wanted, self.most_values // keys))

    def do(self, work: str, folder: Path, **arguments: object) -> Any:
        """Do a work in a folder; return its answer.

        Raises:
            Failed: It ended with an error, or did not end in time.

        """
        return self.begin(work, folder, **arguments).answer()

    def begin(self, work: str, folder: Path, **arguments: object) -> Work:
        """Begin a work and return it. With `wait=True` it waits for `Work.go`."""
        folder.mkdir(parents=True, exist_ok=True)
        given = json.dumps({"folder": str(folder), **arguments})
        return Work(
            [self.python, _SCRIPTS / f"{self.peer}_peer.py", self.way, work, given],
            surroundings(self.peer, folder),
        )


class Work:
    """A process that works."""

    def __init__(self, command: Iterable[object], variables: dict[str, str]) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the answer
        self._process = subprocess.Popen(
            [str(part) for part in command], env=variables, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip

    def ready(self) -> None:
        """Wait until it has everything imported and loaded."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def go(self) -> None:
        """Let it begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """Wait for what it has to say. Raises `Failed`."""
        try:
            said, _ = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise Failed(f"not done after {PATIENCE} s") from None
        finally:
            self._errors.seek(0)
            errors = self._errors.read().strip()
            self._errors.close()
        if self._process.returncode or not said:
            last = errors.splitlines()[-1] if errors else f"status {self._process.returncode}"
            raise Failed(last[:200])
        return json.loads(said.splitlines()[-1])


@dataclass
class Contenders:
    """Everyone who can be had; and why the others cannot.

    Args:
        named: Only these peers (and traininglog), by the names of their files.
        plain: Make no environments: only those that need nothing which is not here.

    """

    named: tuple[str, ...] = ()
    plain: bool = False
    missing: dict[str, str] = field(default_factory=dict)  # name: reason
    failures: list[str] = field(default_factory=list)
    _found: list[Contender] | None = None

    def __iter__(self) -> Iterator[Contender]:
        """Yield every contender, ourselves first."""
        if self._found is None:
            self._found = list(self._find())
        return iter(self._found)

    def _find(self) -> Iterator[Contender]:
        pythons: dict[str, Path] = {}
        for name, peer in PEERS.items():
            if not peer.logs:
                continue
            wanted = not self.named or name in self.named
            if name == "traininglog" or (wanted and (name in PLAIN or not self.plain)):
                try:
                    pythons[name] = Path(sys.executable) if self.plain else python_of(name)
                except Unavailable as error:
                    self.missing[peer.name] = str(error)
        with tempfile.TemporaryDirectory() as folder:
            asked = {  # all at once, as importing some of them takes seconds
                name: Work(
                    [python, _SCRIPTS / f"{name}_peer.py", "describe"],
                    surroundings(name, Path(folder)),
                )
                for name, python in pythons.items()
            }
            for name, work in asked.items():
                try:
                    about = work.answer()
                except Failed as error:
                    self.missing[PEERS[name].name] = str(error)
                    continue
                for place, (way, details) in enumerate(about["ways"].items()):
                    version, python = about["version"], pythons[name]
                    yield Contender(name, way, version, python, **details, main=place == 0)

    def versions(self) -> dict[str, str]:
        """Return the version of everyone who was measured, or why it was not; empty for nobody."""
        if self._found is None:
            return {}
        known = {PEERS[one.peer].name: one.version for one in self._found if not one.ours}
        return known | {name: f"not measured: {why}" for name, why in self.missing.items()}

    def each(
        self,
        work: Callable[[Contender, Path], Any],
        place: Path,
        times: int = 1,
        only: Callable[[Contender], bool] = lambda one: True,
    ) -> dict[Contender, list[Any]]:
        """Let everyone do a work so many times, in turns; return their answers.

        Each time has an empty folder, removed afterwards. Who fails is left out, and it is noted in
        `failures`.
        """
        answers: dict[Contender, list[Any]] = {}
        out: set[Contender] = set()
        for _ in range(times):
            for one in self:
                if one in out or not only(one):
                    continue
                folder = place / f"{one.peer}-{one.way}".rstrip("-")
                try:
                    answers.setdefault(one, []).append(work(one, folder))
                except Failed as error:
                    self.failures.append(f"{one.label} failed: {error}")
                    answers.pop(one, None)
                    out.add(one)
                finally:
                    rmtree(folder, ignore_errors=True)
        return answers
