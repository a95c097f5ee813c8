"""Moments of a training: the loop takes them, writes them as checkpoints, and keeps the best one.

A **moment** is a snapshot of everything that a training continues from: counters, parameters, the
user's objects, random states, the position in the data, the statistics of metrics so far, and the
position of the log. A checkpoint contains the present moment and, with early stopping, the best
moment so far with the value of the metric. Both are in one manifest, so one is never newer than the
other.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import traininglog
from traininglog.base import TrainingLogBase
from traininglog.errors import RunNotFound
from traininglog.loop.checkpoint.checks import check
from traininglog.loop.checkpoint.folder import Checkpoint, CheckpointFolder, find
from traininglog.loop.errors import CheckpointUnusable, NotPlain
from traininglog.loop.measures.best import Best
from traininglog.loop.reports.mishaps import Mishaps
from traininglog.loop.states import randomness
from traininglog.loop.states.objects import checked, is_random, put, take
from traininglog.loop.states.trees import Serializer, to_json

Moment = dict[str, Any]


class Snapshots:
    """Takes moments, writes them as checkpoints, and restores them.

    Args:
        params: The trained parameters; see `traininglog.loop.states.objects`.
        objects: Other objects to save, by name.
        folder: The folder of the checkpoints; None: a moment is only the parameters.
        keep: How many checkpoints to keep; None or 0 keeps all.
        serializer: Saves objects that are not plain data.

    """

    def __init__(
        self,
        params: object,
        objects: Mapping[str, Any] | None,
        folder: str | Path | None,
        keep: int | None,
        serializer: tuple[Any, Any] | None,
    ) -> None:
        self.params = None if params is None else checked(params, "params")
        self.objects = {name: checked(item, name) for name, item in (objects or {}).items()}
        for name in self.objects:
            if not isinstance(name, str) or not name:
                raise TypeError(f"an object is saved under a name, which cannot be {name!r}")
        self.generators = {name: item for name, item in self.objects.items() if is_random(item)}
        self.serializer = None if serializer is None else Serializer(*serializer)
        self.folder = None if folder is None else CheckpointFolder(folder, keep, self.serializer)
        self.training = uuid.uuid4().hex  # a resumed training keeps its ID

    def moment(self, log: TrainingLogBase, loop: Callable[[], dict[str, Any]]) -> Moment:
        """Return the present moment: only the parameters, if there are no checkpoints.

        `loop` returns the state of the loop itself.
        """
        moment: Moment = {"params": None if self.params is None else take(self.params)}
        if self.folder is not None:
            moment["objects"] = {name: take(item) for name, item in self.objects.items()}
            moment |= self.share(log, loop)
        return moment

    def share(self, log: TrainingLogBase, loop: Callable[[], dict[str, Any]]) -> Moment:
        """Return the part of the present moment that differs between the ranks of a training."""
        return {
            "loop": loop(),
            "random": randomness.capture(self.generators),
            "log": log.state_dict(),
        }

    def rehearse(self, mishaps: Mishaps) -> None:
        """Check before the training whether its state can be saved.

        Raises `NotPlain` for a state that cannot. Reports an error of the user's own methods.
        """
        if self.folder is None:
            return
        things = {f"now/objects/{name}": item for name, item in self.objects.items()}
        if self.params is not None:
            things["now/params"] = self.params
        for name, thing in things.items():
            try:
                to_json(take(thing), _Forgotten(), self.serializer, name)
            except NotPlain:
                raise
            except Exception as error:  # noqa: BLE001 - a user's state_dict may raise anything
                if not _lazy(thing):
                    mishaps.tell(
                        f"taking the state of {name}",
                        error,
                        "no checkpoint can be written while it does",
                    )

    def write(self, now: Moment, best: Best, ended: dict[str, Any] | None = None) -> Path:
        """Write a checkpoint of a moment and the best one; return its path."""
        assert self.folder is not None  # noqa: S101 - the callers have checked
        counters = now["loop"]
        facts = {
            "run": now["log"]["uuid"],
            "epoch": counters["epoch"],
            "step": counters["step"],
            "made": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "version": traininglog.__version__,
            "ended": ended,
        }
        trees = {"now": now, "best": best.get_state()}
        return self.folder.write(self.training, counters["step"], facts, trees)

    def find(self, place: bool | str | Path) -> Checkpoint | None:
        """Read the newest checkpoint (True), or the one at a path."""
        if isinstance(place, (str, Path)):
            return find(place, self.serializer, check)
        if place and self.folder is not None:
            return self.folder.newest(check)
        return None

    def restore(
        self,
        found: Checkpoint,
        source: Literal["last", "best"],
        best: Best,
        log: TrainingLogBase,
        *,
        early_stopping: bool,
        rank: int = 0,
    ) -> Moment:
        """Restore a whole moment of a checkpoint, and resume the log there; return the moment.

        Reads all of it before it changes anything. Raises `CheckpointUnusable` if the moment does
        not fit, and `RunNotFound` if the store of the log does not have the run.
        """
        self.training = found.facts["training"]
        fits = best.set_state(found.trees["best"])
        if early_stopping and (not fits or best.moment is None):
            # Without its parameters a best value would only keep out values that have them.
            best.value = best.moment = None
            best.waited = 0
        moment: Moment = found.trees["now"]
        if source == "best":
            if best.moment is None or "loop" not in best.moment:
                raise CheckpointUnusable(
                    f"the checkpoint {found.path} has no best moment to resume from: it was made "
                    f"without early stopping on {best.name!r}; resume_from='last' goes on from "
                    "where it stands"
                )
            moment = best.moment
        moment, own_log = self._of_rank(moment, rank)
        missing = [name for name in self.objects if name not in moment["objects"]]
        if self.params is not None and moment["params"] is None:
            missing.insert(0, "params")
        if missing:
            raise CheckpointUnusable(
                f"the checkpoint {found.path} has nothing for {', '.join(missing)}: leave out of "
                "the loop what was not saved, or start anew with restore_checkpoint=False"
            )
        for name, item in self.objects.items():
            put(item, moment["objects"][name], name)
        self.put_params(moment["params"])
        if not own_log:
            _go_on_in(log, moment["log"]["status"])
            return moment
        try:
            log.load_state_dict(moment["log"])
        except RunNotFound as error:
            if rank:  # the log of another rank may have been in memory
                _go_on_in(log, moment["log"]["status"])
                return moment
            raise RunNotFound(
                f"{error}; give the loop a log in that store, or start anew with "
                "restore_checkpoint=False"
            ) from error
        return moment

    def _of_rank(self, moment: Moment, rank: int) -> tuple[Moment, bool]:
        """Return a moment with the share of a rank, and whether the moment has that share.

        Without one, as when the training had fewer ranks, the rank takes the counters of the first
        rank and keeps its own random states: those of the first would draw the same numbers twice.
        """
        if not rank:
            return moment, True
        share = moment.get("ranks", {}).get(str(rank))
        if share is not None:
            return {**moment, **share}, True
        random, loop = randomness.capture(self.generators), moment["loop"]
        position = loop["position"]
        # The rest of the position is about the data of the first rank, not of this one.
        position = {name: position[name] for name in ("done", "batches", "open", "states")}
        if "began" in loop["position"]:
            position["began"] = random
        mine = {**loop, "position": position, "epoch_random": None}
        return {**moment, "random": random, "loop": mine}, False

    def put_params(self, params: object) -> None:
        """Restore the parameters of a moment, and nothing else."""
        if self.params is not None:
            put(self.params, params, "params")


def _go_on_in(log: TrainingLogBase, status: Mapping[str, object]) -> None:
    """Copy a status into a log that lacks the earlier steps, so that it counts on from them."""
    log.status.update({key: value for key, value in status.items() if key != "resumed_from"})


class _Forgotten(list[Any]):
    """A list that drops all arrays it is given."""

    def append(self, item: object) -> None:
        """Drop the array."""


def _lazy(thing: Any) -> bool:
    """Return whether a module has parameters that its first call creates."""
    found = thing.parameters() if callable(getattr(thing, "parameters", None)) else ()
    return any("Uninitialized" in type(item).__name__ for item in found)
