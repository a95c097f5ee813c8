"""The owner thread: the one thread of a process that changes what belongs to writing a store.

CPython runs signal handlers, and raises `KeyboardInterrupt`, in the main thread only. So nothing
that another thread does can be cut in two by one. Here one thread a store opens and closes regions
of journals, names keys, flushes, resumes, claims and closes. All others append to an open region by
one call into C, or put a request into a `queue.SimpleQueue` and wait for its answer. That queue is
made for this: a signal handler or a destructor may put something into it at any moment.

A caller that is interrupted as it waits leaves its request behind, which is served all the same.
Where no thread can be had, as at the end of the interpreter or in a moment without memory, whoever
asks serves the requests itself.

The thread ends when nothing has happened for a while, and before each fork: a child would be
without it, and Python warns of forks beside threads.
"""

from __future__ import annotations

import _thread
import math
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Protocol, TypeVar
from uuid import UUID

# Before this module registers what it does around forks: that comes first, as the thread may hold
# what the others wait for.
from traininglog import forks  # noqa: F401
from traininglog.waiting import meanwhile

#: The longest that an assignment waits before others can see it, in seconds.
INTERVAL = 0.25

# How long a thread without work stays, in seconds.
_IDLE = 5.0

# How often who waits for an answer looks whether there still is a thread, in seconds.
_LOOK = 0.5

# So many signal handlers wait for answers on top of each other.
_DEEP = 8

# How long a fork waits for the thread to end, in seconds, and then for the system to forget it.
_FORK_PATIENCE = 5.0
_GONE = 0.2

# How long who lets go of a log waits until it is closed, in seconds. Nobody asks for that there,
# and the collector of garbage may have come while a lock is held that closing needs.
_MOMENT = 0.2

# How long who looks how runs stand waits for those, in seconds.
_SETTLING = 2.0

# How long to wait after an error that comes out of the thread itself, as for want of memory.
_PAUSE = 0.1

_T = TypeVar("_T")


class Parked(BaseException):
    """The thread has to end now; what it does is done again by the next one.

    No `Exception`: whoever goes on after errors, as a store that seals, must not go on after this.
    """


class NotNow(BaseException):
    """What was asked for in the midst of something else cannot be done before that has ended."""


class Ticking(Protocol):
    """What has something to do from time to time."""

    def tick(self) -> float | None:
        """Do it, and return in how many seconds to do so again; None: when it is next asked for."""

    def forget(self) -> None:
        """Be of no use, in a forked child."""


class Request:
    """Something that the owner thread is asked to do.

    Args:
        act: Does it.
        is_light: Tells whether that may be done while the thread waits for others in the midst of
            something else: it needs no store.

    """

    __slots__ = ("_act", "_done", "_error", "_result", "finished", "is_light")

    def __init__(self, act: Callable[[], Any], is_light: Callable[[], bool] | None = None) -> None:
        self._act: Callable[[], Any] | None = act
        self.is_light = is_light
        self.finished = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._done = threading.Lock()
        self._done.acquire()

    def serve(self) -> None:
        """Do it, in the owner thread. Raises `Parked` or `NotNow` if it is to be served again."""
        assert self._act is not None  # noqa: S101 - it is served once
        try:
            self._result = self._act()
        except (Parked, NotNow):
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            self._error = error
        self._act = None
        self.finished = True
        self._done.release()

    def wait(self, seconds: float) -> bool:
        """Wait for its end, so long at the most; return whether it has come."""
        return self.finished or self._done.acquire(timeout=seconds) or self.finished

    def answer(self) -> Any:
        """Return the result, or raise what was raised, once."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._result
        finally:
            del error  # which has this frame in its traceback


class Owner:
    """The owner thread of one store, and what is asked of it.

    Args:
        name: Of the store, for people.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: Which writer of this process has which run.
        self.holders: dict[UUID, Any] = {}
        #: No thread could be had when one was last needed. Who assigns must see to the flushes.
        self.missing = False
        #: Have whoever asks serve the requests, and no thread. For tests.
        self.in_place = False
        self._begin()
        _OWNERS.add(self)

    def _begin(self) -> None:
        self._inbox: queue.SimpleQueue[Request | Ticking | None] = queue.SimpleQueue()
        self._deferred: deque[Request] = deque()
        self._leaving: deque[Request] = deque()
        self._depths: dict[int, int] = {}  # of waits that interrupt each other, by thread
        self._ticks: dict[Ticking, float] = {}
        self._serving = threading.Lock()  # held by who serves
        self._server: int | None = None
        self._native = 0
        self._parked = False
        self.is_waiting = False  #: in the midst of something, for others

    @staticmethod
    def of(key: Hashable, name: str) -> Owner:
        """Return the one of this process for a store."""
        with _REGISTRY_LOCK:
            owner = _REGISTRY.get(key)
            if owner is None:
                owner = _REGISTRY[key] = Owner(name)
            return owner

    # -- any thread, any signal handler -----------------------------------------------------

    @property
    def is_here(self) -> bool:
        """Whether it is this thread that serves."""
        return self._server == _thread.get_ident()

    def put(self, request: Request) -> None:
        """Ask for something, and do not wait for it."""
        self._inbox.put(request)
        if not self.is_here:
            self._see_to_it()

    def wait(self, request: Request) -> None:
        """Wait until something that was asked for is done.

        Not in the owner thread, where a destructor may ask: it is done after what that interrupts.
        Nor in a signal handler that interrupts others that wait: they would go on piling up.
        """
        me = _thread.get_ident()
        depth = self._depths.get(me, 0)
        if self.is_here or depth >= _DEEP:
            return
        self._depths[me] = depth + 1
        try:
            while not request.wait(_LOOK):
                self._see_to_it()
        finally:
            if depth:
                self._depths[me] = depth
            else:
                self._depths.pop(me, None)

    def run(self, act: Callable[[], _T]) -> _T:
        """Have something done by the owner thread, and return what it returns."""
        if self.is_here:
            return act()
        request = Request(act)
        self.put(request)
        self.wait(request)
        answer: _T = request.answer()
        return answer

    def let_go(self, request: Request) -> None:
        """Ask for something that nobody is there to wait for, and wait for it a moment."""
        self._leaving.append(request)
        self.put(request)
        if not self.is_here:
            request.wait(_MOMENT)

    def settle(self) -> None:
        """Wait until logs that nobody holds any more are closed, a few moments at the most.

        For whoever is about to look how runs stand.
        """
        end = monotonic() + _SETTLING
        while self._leaving and not self.is_here:
            request = self._leaving[0]
            if not request.wait(max(0.0, end - monotonic())):
                return
            with suppress(IndexError):  # another thread was faster
                self._leaving.popleft()

    def nudge(self, ticking: Ticking) -> None:
        """Have something tick now."""
        self._inbox.put(ticking)

    def _see_to_it(self) -> None:
        """See to it that somebody serves."""
        if self._serving.locked() or self._parked:
            return
        if not self.in_place:
            try:
                # Not `threading.Thread`: starting one takes locks that the program may hold where
                # the collector of garbage calls this, and waits until the thread says that it runs.
                _thread.start_new_thread(self._serve, ())
            except (RuntimeError, MemoryError):
                self.missing = True
            else:
                self.missing = False
                return
        self._serve(idle=0.0)

    # -- the owner thread -------------------------------------------------------------------

    def schedule(self, ticking: Ticking, seconds: float) -> None:
        """Have something tick in so many seconds, or earlier if it was to."""
        due = monotonic() + seconds
        self._ticks[ticking] = min(due, self._ticks.get(ticking, math.inf))

    def drop(self, ticking: Ticking) -> None:
        """Have something tick no longer."""
        self._ticks.pop(ticking, None)

    def _serve(self, idle: float = _IDLE) -> None:
        """Serve what is asked for, in this thread, until nothing has come for so many seconds."""
        while self._serving.acquire(blocking=False):
            try:
                self._server = _thread.get_ident()
                self._native = _thread.get_native_id() if idle else 0
                with meanwhile(self._meanwhile):
                    self._work(idle)
            except Parked:
                pass
            except Exception as error:  # noqa: BLE001 - see below
                # What can come here is a want of memory, which passes; all else is a fault of ours,
                # and is told. A thread that has ended flushes nothing.
                if not isinstance(error, MemoryError):
                    told = (type(error), error, error.__traceback__, None)
                    threading.excepthook(threading.ExceptHookArgs(told))
                time.sleep(_PAUSE)
                if idle:
                    continue
            finally:
                self._server = None
                self._serving.release()
            # Somebody may have asked for something after the last look, and seen us serve.
            if self._parked or (self._inbox.empty() and not self._deferred):
                return

    def _work(self, idle: float) -> None:
        end = monotonic() + idle
        while not self._parked:
            item = self._next(min(end, *self._ticks.values()) if self._ticks else end)
            if isinstance(item, Request):
                self._do(item)
            elif item is not None:
                self._ticks[item] = 0.0
            if self._tick() or item is not None:
                end = monotonic() + idle
            elif monotonic() >= end and not (idle and self._ticks):
                return

    def _next(self, deadline: float) -> Request | Ticking | None:
        if self._deferred:
            return self._deferred.popleft()
        try:
            return self._inbox.get(timeout=max(0.0, deadline - monotonic()))
        except queue.Empty:
            return None

    def _do(self, request: Request) -> None:
        try:
            request.serve()
        except Parked:
            self._deferred.appendleft(request)
            raise

    def _tick(self) -> bool:
        """Have what is due tick; return whether anything was."""
        now = monotonic()
        due = [ticking for ticking, at in self._ticks.items() if at <= now]
        for ticking in due:
            self._ticks.pop(ticking, None)
            try:
                again = ticking.tick()
            except BaseException:
                self._ticks[ticking] = 0.0
                raise
            if again is not None:
                self.schedule(ticking, again)
        return bool(due)

    def _meanwhile(self, seconds: float) -> None:
        """Do what cannot wait, as long as this thread would sleep in the midst of something."""
        end = monotonic() + seconds
        waited, self.is_waiting = self.is_waiting, True
        try:
            while True:
                if self._parked:
                    raise Parked
                try:
                    item = self._inbox.get(timeout=max(0.0, end - monotonic()))
                except queue.Empty:
                    return
                if isinstance(item, Request):
                    self._do_if_light(item)
                elif item is not None:
                    self._ticks[item] = 0.0
        finally:
            self.is_waiting = waited

    def _do_if_light(self, request: Request) -> None:
        if request.is_light is not None and request.is_light():
            try:
                request.serve()
            except NotNow:
                pass
            else:
                return
        self._deferred.append(request)

    # -- around a fork ----------------------------------------------------------------------

    def park(self) -> None:
        """End the thread, after what it is in the midst of, and have none until `unpark`."""
        self._parked = True
        if self.is_here:
            return
        self._inbox.put(None)
        if self._serving.acquire(timeout=_FORK_PATIENCE):
            self._serving.release()
            _wait_until_gone(self._native)

    def unpark(self) -> None:
        """Go on."""
        self._parked = False
        if self._ticks or self._deferred or not self._inbox.empty():
            self._see_to_it()

    def forget(self) -> None:
        """Begin anew, in a forked child: all that was to be done is its parent's."""
        self.holders.clear()
        self._begin()


def _wait_until_gone(native: int) -> None:
    """Wait until the system counts a thread no longer that has just ended."""
    task = Path(f"/proc/self/task/{native}")
    deadline = monotonic() + _GONE
    while native and monotonic() < deadline and task.exists():
        time.sleep(0.0005)


_OWNERS: weakref.WeakSet[Owner] = weakref.WeakSet()
_REGISTRY: weakref.WeakValueDictionary[Hashable, Owner] = weakref.WeakValueDictionary()
_REGISTRY_LOCK = threading.RLock()  # a signal handler may open a log while the program does


def _before_fork() -> None:
    for owner in list(_OWNERS):
        owner.park()


def _after_fork_in_parent() -> None:
    for owner in list(_OWNERS):
        owner.unpark()


def _after_fork_in_child() -> None:
    global _REGISTRY_LOCK  # noqa: PLW0603 - another thread of the parent may have held it
    _REGISTRY_LOCK = threading.RLock()
    for owner in list(_OWNERS):
        owner.forget()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
)
