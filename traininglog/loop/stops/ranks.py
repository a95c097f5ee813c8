"""The ranks of a training in several processes, and how they agree.

If only some ranks leave the loop, the others wait for them in the next all-reduce for ever. So the
ranks *meet* at each step, between two epochs, for a checkpoint and in the end: each sends its place
and its wish, and all do the same.

Each rank sends the stage that it has reached. A rank that is behind learns that others have gone
on, and goes on as well; a rank that is ahead waits. As soon as one rank wants a checkpoint, all
take part: the others send their shares (see `traininglog.loop.checkpoint.snapshots`), and go on
where they were.

The ranks are those of `torch.distributed`, which the program initializes. They meet in a group of
their own, over gloo. The tensors are a few bytes of host memory, so they wait for no device, and no
collective of the program can come between. This module does not import PyTorch: a program with
ranks has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import IntEnum, IntFlag
from time import monotonic, sleep
from typing import Any, NamedTuple

from traininglog.loop.errors import LoopMisuse, RankLost

_LOOK = timedelta(seconds=1)  # how often a waiting rank checks whether others have left
_LONGEST = timedelta(days=7)  # an epoch's body may take long on one rank; a death is noticed
_SAY_AFTER = 10.0  # seconds, after which a rank that waits for others to begin prints so
_ENTER_WITHIN = 1800.0  # seconds
_PREFIX = "traininglog"

#: The world of this process, and the group in which its loops meet.
_group: tuple[Any, Any] | None = None
_entered = 0


class Stage(IntEnum):
    """The place of a rank, in order."""

    CHECKPOINT = 0  # may come at any time
    ENTER = 1
    STEP = 2
    EPOCH = 3
    EXIT = 4
    BEST = 5


class Wish(IntFlag):
    """A decision that a rank wants, or an event that it has met."""

    NOTHING = 0
    END_STEP = 1  # a signal: end after this step
    END_EPOCH = 2  # a signal: end after this epoch
    STOP = 4  # the program: end the training
    NO_DATA = 8
    CUT_OFF = 16  # a signal has cut off the data
    FAILED = 32


class Message(NamedTuple):
    """The message of a rank when it meets the others."""

    stage: int
    wish: Wish
    content: bytes


class Ranks:
    """This process among those that train together; it may be alone.

    Args:
        distributed: None: the ranks of `torch.distributed`, if it is initialized. True: it must be
            initialized. False: this process trains for itself.

    """

    def __init__(self, *, distributed: bool | None = None) -> None:
        self.rank, self.size = 0, 1
        self._lost = False
        if distributed is not False:
            found = _distributed()
            if found is not None:
                self.rank, self.size = found.get_rank(), found.get_world_size()
            elif distributed:
                raise LoopMisuse(
                    "distributed=True needs torch.distributed: call "
                    "torch.distributed.init_process_group() before the loop is made"
                )
        self.many = self.size > 1
        self.first = self.rank == 0  #: this rank prints, and writes checkpoints and summaries

    def enter(self, say: Callable[[str], object]) -> None:
        """Wait until all ranks have entered their loops.

        Args:
            say: Prints which ranks are missing, if that takes long.

        Raises `LoopMisuse` if others do not come, and `RankLost` if one of them has failed.
        """
        global _entered, _group  # noqa: PLW0603 - as there is one process group, there is one here
        if not self.many:
            return
        torch = sys.modules["torch"].distributed
        _entered += 1
        self._store = torch.PrefixStore(
            f"{_PREFIX}/{_entered}", torch.distributed_c10d._get_default_store()
        )
        self._store.add("entered", 1)
        self._store.set(f"entered/{self.rank}", "1")
        self._wait_for_all(say)
        if _group is None or _group[0] is not torch.group.WORLD:
            _group = torch.group.WORLD, torch.new_group(backend="gloo", timeout=_LONGEST)
        self._in = _group[1]
        self._torch = sys.modules["torch"]

    def _wait_for_all(self, say: Callable[[str], object]) -> None:
        began, pause, said = monotonic(), 0.001, False
        while self._store.add("entered", 0) < self.size:
            if not said and monotonic() - began > _SAY_AFTER:
                said = True
                missing = [
                    rank for rank in range(self.size) if not self._store.check([f"entered/{rank}"])
                ]
                say(
                    f"Waiting for the loops of rank {', '.join(map(str, missing))}. A loop that "
                    "only one rank has takes distributed=False."
                )
            if monotonic() - began > _ENTER_WITHIN:
                raise LoopMisuse(
                    f"the loops of all {self.size} ranks begin together, and some have not begun "
                    f"within {_ENTER_WITHIN / 60:.0f} minutes: a loop that only one rank has takes "
                    "distributed=False"
                )
            self._look_for_lost()
            sleep(pause)
            pause = min(0.1, pause * 2)

    # -- meeting ----------------------------------------------------------------------------

    def meet(
        self,
        stage: Stage,
        wish: Wish = Wish.NOTHING,
        content: bytes = b"",
        share: Callable[[], bytes] | None = None,
    ) -> Sequence[Message] | None:
        """Meet the other ranks; return the messages of all, by rank.

        Returns None if another rank is beyond this stage: then it is over for this rank, too.

        Args:
            stage: The stage of this rank.
            wish: The wish of this rank.
            content: Further bytes to send.
            share: Returns the bytes to send if another rank wants a checkpoint.

        Raises `RankLost` if another rank has left its loop by an exception, or is dead.
        """
        while True:
            said = self._exchange(Message(stage, wish, content))
            stages = {message.stage for message in said}
            if stages == {stage}:
                return said
            if stage == Stage.CHECKPOINT:
                continue  # the others know now that this rank wants one
            if Stage.CHECKPOINT in stages:
                self.meet(Stage.CHECKPOINT, content=b"" if share is None else share())
            elif max(stages) > stage:
                return None

    def _exchange(self, mine: Message) -> list[Message]:
        torch = self._torch
        head = torch.tensor([mine.stage, mine.wish, len(mine.content)], dtype=torch.int64)
        heads = [torch.zeros_like(head) for _ in range(self.size)]
        self._done(lambda: torch.distributed.all_gather(heads, head, group=self._in, async_op=True))
        found = [tuple(map(int, other)) for other in heads]
        longest = max(length for _, _, length in found)
        contents = [b""] * self.size
        if longest:
            padded = _tensor(torch, mine.content.ljust(longest, b"\0"))
            texts = [torch.zeros_like(padded) for _ in range(self.size)]
            self._done(
                lambda: torch.distributed.all_gather(texts, padded, group=self._in, async_op=True)
            )
            contents = [
                text[:length].numpy().tobytes()
                for text, (_, _, length) in zip(texts, found, strict=True)
            ]
        return [
            Message(stage, Wish(wish), content)
            for (stage, wish, _), content in zip(found, contents, strict=True)
        ]

    def from_first(self, content: bytes) -> bytes:
        """Return the `content` of the first rank. All ranks call it at the same stage."""
        torch = self._torch
        length = torch.tensor([len(content)], dtype=torch.int64)
        self._broadcast(length)
        text = (
            _tensor(torch, content) if self.first else torch.zeros(int(length), dtype=torch.uint8)
        )
        if int(length):
            self._broadcast(text)
        return bytes(text.numpy().tobytes())

    def _broadcast(self, tensor: object) -> None:
        function = self._torch.distributed.broadcast
        self._done(lambda: function(tensor, src=0, group=self._in, async_op=True))

    def _done(self, begin: Callable[[], Any]) -> None:
        """Begin a collective operation and wait for it; raise `RankLost` if a rank is gone."""
        work = None
        try:
            work = begin()
            while True:
                try:
                    work.wait(_LOOK)
                except RuntimeError:
                    if work.is_completed():
                        raise
                    self._look_for_lost()
                else:
                    return
        except RankLost:
            self._lost = True
            raise
        except RuntimeError as error:
            self._lost = True
            raise RankLost(
                f"another rank is gone, and so rank {self.rank} ends, too: what it said last tells "
                f"why ({error})"
            ) from error

    def _look_for_lost(self) -> None:
        for rank in range(self.size):
            if self._store.check([f"left/{rank}"]):
                why = self._store.get(f"left/{rank}").decode()
                raise RankLost(
                    f"rank {rank} left its loop by {why}, and so rank {self.rank} ends, too"
                )

    # -- leaving ----------------------------------------------------------------------------

    @property
    def meeting(self) -> bool:
        """Whether there are other ranks to meet, and none is lost."""
        return self.many and not self._lost

    def leave(self, error: BaseException) -> None:
        """Tell the other ranks that this one has failed and will not meet them again."""
        if not self.meeting or not hasattr(self, "_store"):
            return
        self._lost = True
        try:
            self._store.set(f"left/{self.rank}", type(error).__name__)
        except RuntimeError as failure:  # the first rank owns the store, and may be gone
            error.add_note(f"The other ranks could not be told: {failure}")


def _distributed() -> Any:
    """Return `torch.distributed` if it is imported and initialized, else None."""
    torch = sys.modules.get("torch")
    found = getattr(torch, "distributed", None)
    if found is None or not found.is_available() or not found.is_initialized():
        return None
    return found


def _tensor(torch: Any, content: bytes) -> Any:
    if not content:
        return torch.zeros(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)
