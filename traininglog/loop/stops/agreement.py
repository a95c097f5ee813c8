"""The decisions that the ranks of a training take together, so that all end at the same place.

- A signal to one rank is a signal to all, and so is `request_stop`.
- The validation metric of the first rank counts: its best value, its patience.
- Data that ends for one rank ends for all.
- If one rank leaves the loop by a ``break``, all leave it.

The first rank writes the checkpoints. The *share* of a rank is its own part of a checkpoint: random
states, the position in the data, the statistics so far, and the position of its log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from traininglog.loop.checkpoint.snapshots import Moment, Snapshots
from traininglog.loop.counters import Counters
from traininglog.loop.measures.best import Best
from traininglog.loop.measures.metrics_log import MetricsLog
from traininglog.loop.reports.reporter import Reporter
from traininglog.loop.states.packed_trees import packed, unpacked
from traininglog.loop.stops.interrupts import Interrupts
from traininglog.loop.stops.ranks import Message, Ranks, Stage, Wish


class Agreement:
    """Agrees with the other ranks, if there are any, on whether and how to go on.

    Args:
        ranks: The ranks, and the way to meet them.
        loop_state: Returns the state of the loop itself; see `Snapshots.moment`.

    The other arguments are the parts of the loop, each documented in its own module.
    """

    def __init__(
        self,
        ranks: Ranks,
        counters: Counters,
        interrupts: Interrupts,
        metrics_log: MetricsLog,
        reporter: Reporter,
        snapshots: Snapshots,
        best: Best,
        loop_state: Callable[[], dict[str, Any]],
    ) -> None:
        self.ranks = ranks
        self._counters = counters
        self._interrupts = interrupts
        self._metrics_log = metrics_log
        self._reporter = reporter
        self._snapshots = snapshots
        self._best = best
        self._loop_state = loop_state
        self._wish: str | None = None  # why this rank wants to stop; the others learn it next
        self._ends_epoch = self._ends_step = False
        self._uneven = False  # whether the user was told of uneven data
        self._told: list[Any] | None = None  # the best value that all ranks know
        self.stopped = False  #: whether the training was told to end
        self.reason: str | None = None  #: why it ended

    # -- the state of all ranks -------------------------------------------------------------

    @property
    def ends_epoch(self) -> bool:
        """Whether a signal ends the training after this epoch."""
        return self._ends_epoch if self.ranks.meeting else self._interrupts.epoch

    @property
    def ends_step(self) -> bool:
        """Whether a signal ends the training after this step."""
        return self._ends_step if self.ranks.meeting else self._interrupts.step

    def ask_to_stop(self, reason: str) -> None:
        """End the training; with several ranks, once all have agreed."""
        if self.ranks.meeting:
            self._wish = reason
        else:
            self.stopped, self.reason = True, reason

    # -- meeting ----------------------------------------------------------------------------

    def on_step(self, *, no_data: bool, cut_off: bool) -> Wish:
        """Meet the other ranks before a step; return whether data has ended or was cut for any."""
        mine = Wish.NO_DATA if no_data else Wish.CUT_OFF if cut_off else Wish.NOTHING
        if not self.ranks.meeting:
            return mine
        said = self._meet(Stage.STEP, mine)
        if said is None:  # another rank has left this pass, or the loop, by a break
            return Wish.NO_DATA
        found = Wish.NOTHING
        for message in said:
            found |= message.wish
        if Wish.CUT_OFF in found:
            self._ends_step = self._ends_epoch = True
            return Wish.CUT_OFF
        if Wish.NO_DATA in found and not no_data and not self._uneven:
            self._uneven = True
            self._reporter.say(
                "A rank has no more data than this: the pass ends for all of them here, and later "
                "ones at the like of it. Give all ranks as many batches."
            )
        return found & Wish.NO_DATA

    def on_epoch(self) -> None:
        """Meet the other ranks after an epoch's body; if one has left the loop, all leave."""
        if self.ranks.meeting and self._meet(Stage.EPOCH) is None:
            self.stopped, self.reason = True, self.reason or "break"

    def on_exit(self) -> None:
        """Meet the other ranks when the loop ends."""
        if self.ranks.meeting:
            self._meet(Stage.EXIT)

    def best_params(self, params: object) -> Any:
        """Return the best parameters of the first rank, to restore them; None if it has none.

        Args:
            params: The best parameters of this rank; only those of the first rank count.

        """
        if not self.ranks.meeting:
            return params
        self._meet(Stage.BEST)
        serializer = self._snapshots.serializer
        mine = b""
        if self.ranks.first and params is not None:
            mine = packed(params, serializer)
        content = self.ranks.from_first(mine)
        if self.ranks.first or not content:
            return params if self.ranks.first else None
        return unpacked(content, serializer)

    def _meet(self, stage: Stage, wish: Wish = Wish.NOTHING) -> Sequence[Message] | None:
        """Meet the other ranks, and adopt the common decision."""
        news: dict[str, Any] = {}
        interrupts = self._interrupts
        if interrupts.epoch:
            wish |= Wish.END_STEP if interrupts.step else Wish.END_EPOCH
            news["signal"] = interrupts.name
        if self._wish is not None:
            wish |= Wish.STOP
            news["reason"] = self._wish
        best = self._best.get_news()
        if self.ranks.first and best != self._told:
            news["best"] = best
        said = self.ranks.meet(stage, wish, packed(news) if news else b"", self.share)
        if said is None:
            return None
        told = [unpacked(message.content) if message.content else {} for message in said]
        for message, one in zip(said, told, strict=True):
            self._adopt(message.wish, one)
        if "best" in told[0]:
            self._told = told[0]["best"]
            self._take_best(told[0]["best"])
        return said

    def _adopt(self, wish: Wish, news: dict[str, Any]) -> None:
        if Wish.END_EPOCH in wish or Wish.END_STEP in wish:
            self._ends_epoch = True
            self._ends_step = self._ends_step or Wish.END_STEP in wish
            self._interrupts.name = self._interrupts.name or news["signal"]
        if Wish.STOP in wish and not self.stopped:
            self.stopped, self.reason = True, news["reason"]

    def _take_best(self, news: list[object]) -> None:
        """Adopt the best value of the first rank; add the shares of all ranks to its moment."""
        best = self._best
        if not self.ranks.first:
            better = news[:2] != best.get_news()[:2]
            best.set_news(news)
            if better and best.value is not None:
                self._metrics_log.best(best.name, best.value)
        if self._snapshots.folder is not None:
            shares = self.shares()
            if best.moment is not None:
                best.moment["ranks"] = shares

    # -- checkpoints ------------------------------------------------------------------------

    def share(self) -> bytes:
        """Return this rank's own part of the present moment, as bytes.

        They are empty for the first rank, and without a folder of checkpoints.
        """
        if self._snapshots.folder is None or self.ranks.first:
            return b""
        self._metrics_log.set_done("iterations_done", self._counters.step)
        return packed(self._snapshots.share(self._metrics_log.log, self._loop_state))

    def shares(self) -> dict[str, Any]:
        """Return the shares of the other ranks, by rank."""
        said = self.ranks.meet(Stage.CHECKPOINT, content=self.share()) or []
        return {
            str(rank): unpacked(message.content)
            for rank, message in enumerate(said)
            if message.content and rank
        }

    def completed(self, moment: Callable[[], Moment]) -> Moment:
        """Return the moment of the first rank, with the shares of the others.

        The other ranks write no checkpoint: for them the moment is empty.
        """
        if not self.ranks.meeting:
            return moment()
        # All ranks take the moment: the states of sharded parameters are gathered from all.
        found = moment()
        if not self.ranks.first:
            self.shares()
            return {}
        found["ranks"] = self.shares()
        return found
