"""The owner thread: the one thread of a process that changes the state of writing a store.

CPython runs signal handlers, and raises `KeyboardInterrupt`, in the main thread only. So a handler
cannot interrupt what another thread does. One thread per store opens and closes regions of
journals, numbers keys, flushes, resumes, claims and closes. All other threads append to an open
region by one call into C, or put a request into a `queue.SimpleQueue` and wait for its answer. That
queue is made for this: a signal handler or a destructor may put something into it at any moment.

A caller that is interrupted in the wait leaves its request behind, and the thread still serves it.
Where no thread can start, as at the end of the interpreter or without memory, the caller serves the
requests itself.

The thread ends when nothing has happened for a while, and before each fork: a forked child has no
copy of it, and Python warns of forks beside threads.
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

# Before this module registers its own fork hooks. The hooks of `forks` wait for what the owner
# thread may hold, so they must run after those of this module, and before-fork hooks run last in,
# first out.
from traininglog import forks  # noqa: F401
from traininglog.waiting import meanwhile

#: The longest that an assignment waits before other processes can see it, in seconds.
INTERVAL = 0.25

# How long the thread stays without work, in seconds.
_IDLE = 5.0

# The longest time to a tick, in seconds. A store may ask for more than a queue can wait.
_DAY = 86_400.0

# How often a waiting caller checks that the thread still runs, in seconds.
_LOOK = 0.5

# The most signal handlers that wait for answers on top of each other.
_DEEP = 8

# How long a fork waits for the thread to end, and then for the system to forget it, in seconds.
_FORK_PATIENCE = 5.0
_GONE = 0.2

# How long a finalizer waits until its log is closed, in seconds. No caller asked for the wait, and
# the garbage collector may run while its thread holds a lock that closing needs.
_MOMENT = 0.2

# How long a reader of the states of runs waits for these logs to close, in seconds.
_SETTLING = 2.0

# How long to wait after an error in the thread itself, as for want of memory, in seconds.
_PAUSE = 0.1

_T = TypeVar("_T")


class Parked(BaseException):
    """The thread has to end now; the next one repeats its current request.

    No `Exception`: code that goes on after errors, as sealing does, must not go on after this.
    """


class NotNow(BaseException):
    """A request that came during another one cannot be served before that has ended."""


class Ticking(Protocol):
    """An object with periodic work for the owner thread."""

    def tick(self) -> float | None:
        """Work, and return the seconds until the next tick. None: until something schedules one."""

    def forget(self) -> None:
        """Drop everything in a forked child."""


class Request:
    """A request to the owner thread.

    Args:
        act: The action.
        is_light: Returns whether the thread may serve the request while it waits in the middle of
            another one: the action needs no store.

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
        """Run the action in the owner thread. Raises `Parked` or `NotNow` to be served again."""
        assert self._act is not None  # noqa: S101 - it is served once
        try:
            self._result = self._act()
        except (Parked, NotNow):
            raise
        except BaseException as error:  # noqa: BLE001 - `answer` raises it in the caller
            self._error = error
        self._act = None
        self.finished = True
        self._done.release()

    def wait(self, seconds: float) -> bool:
        """Wait until the request is served, at most so long; return whether it is."""
        return self.finished or self._done.acquire(timeout=seconds) or self.finished

    def answer(self) -> Any:
        """Return the result, or raise the error of the action, once."""
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            return self._result
        finally:
            del error  # its traceback refers to this frame


class Owner:
    """The owner thread of one store, and the queue of its requests.

    Args:
        name: The name of the store, for people.

    """

    def __init__(self, name: str) -> None:
        self.name = name
        #: The writers of this process, by the runs that they hold.
        self.holders: dict[UUID, Any] = {}
        #: Whether no thread could start when one was last needed. Then assignments have to flush.
        self.missing = False
        #: Whether callers serve the requests, and no thread does. For tests.
        self.in_place = False
        self._begin()
        _OWNERS.add(self)

    def _begin(self) -> None:
        self._inbox: queue.SimpleQueue[Request | Ticking | None] = queue.SimpleQueue()
        self._deferred: deque[Request] = deque()
        self._leaving: deque[Request] = deque()
        self._depths: dict[int, int] = {}  # of waits that interrupt each other, by thread
        self._ticks: dict[Ticking, float] = {}
        self._serving = threading.Lock()  # held by the thread that serves
        self._server: int | None = None
        self._native = 0
        self._parked = False
        self.is_waiting = False  #: whether it waits for others in the middle of a request

    @staticmethod
    def of(key: Hashable, name: str) -> Owner:
        """Return the owner of a store in this process; make it if there is none."""
        with _REGISTRY_LOCK:
            owner = _REGISTRY.get(key)
            if owner is None:
                owner = _REGISTRY[key] = Owner(name)
            return owner

    # -- any thread, any signal handler -----------------------------------------------------

    @property
    def is_here(self) -> bool:
        """Whether the calling thread is the one that serves."""
        return self._server == _thread.get_ident()

    def put(self, request: Request) -> None:
        """Put a request into the queue, without waiting for it."""
        self._inbox.put(request)
        if not self.is_here:
            self._see_to_it()

    def wait(self, request: Request) -> None:
        """Wait until a request is served.

        Do not wait in the owner thread, where a destructor may ask: the request is served after the
        one that the destructor interrupts. Nor in a signal handler that interrupts many others that
        wait: they would go on piling up.
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
        """Run an action in the owner thread, and return its result."""
        if self.is_here:
            return act()
        request = Request(act)
        self.put(request)
        self.wait(request)
        answer: _T = request.answer()
        return answer

    def let_go(self, request: Request) -> None:
        """Put a request that closes an unreferenced log, and wait for it a moment."""
        self._leaving.append(request)
        self.put(request)
        if not self.is_here:
            request.wait(_MOMENT)

    def settle(self) -> None:
        """Wait a moment until the logs that nothing refers to any more are closed.

        A reader calls this before it looks at the states of runs.
        """
        end = monotonic() + _SETTLING
        while self._leaving and not self.is_here:
            request = self._leaving[0]
            if not request.wait(max(0.0, end - monotonic())):
                return
            with suppress(IndexError):  # another thread has removed it
                self._leaving.popleft()

    def nudge(self, ticking: Ticking) -> None:
        """Make something tick now."""
        self._inbox.put(ticking)

    def _see_to_it(self) -> None:
        """Start the thread if none serves, or serve the requests here."""
        if self._serving.locked() or self._parked:
            return
        if not self.in_place:
            try:
                # Not `threading.Thread`: starting one takes locks that the program may hold where
                # the garbage collector calls this, and waits until the thread says that it runs.
                _thread.start_new_thread(self._serve, ())
            except (RuntimeError, MemoryError):
                self.missing = True
            else:
                self.missing = False
                return
        self._serve(idle=0.0)

    # -- the owner thread -------------------------------------------------------------------

    def schedule(self, ticking: Ticking, seconds: float) -> None:
        """Schedule a tick in so many seconds, a day at the most, unless an earlier one is due."""
        due = monotonic() + min(seconds, _DAY)
        self._ticks[ticking] = min(due, self._ticks.get(ticking, math.inf))

    def drop(self, ticking: Ticking) -> None:
        """Remove something from the schedule."""
        self._ticks.pop(ticking, None)

    def _serve(self, idle: float = _IDLE) -> None:
        """Serve requests in the calling thread, until none has come for so many seconds."""
        while self._serving.acquire(blocking=False):
            try:
                self._server = _thread.get_ident()
                self._native = _thread.get_native_id() if idle else 0
                with meanwhile(self._meanwhile):
                    self._work(idle)
            except Parked:
                pass
            except Exception as error:  # noqa: BLE001 - see below
                # A want of memory passes. All else is a bug of this package, and is reported. The
                # thread goes on either way: one that has ended flushes nothing.
                if not isinstance(error, MemoryError):
                    told = (type(error), error, error.__traceback__, None)
                    threading.excepthook(threading.ExceptHookArgs(told))
                time.sleep(_PAUSE)
                if idle:
                    continue
            finally:
                self._server = None
                self._serving.release()
            # Another thread may have put a request after the last look, and have seen us serve.
            if self._parked or (self._inbox.empty() and not self._deferred):
                return

    def _work(self, idle: float) -> None:
        end = monotonic() + idle
        while not self._parked:
            ticks = self._ticks.values()
            # The thread outlives `end` for what is scheduled later; a caller that serves does not.
            item = self._next(end if not ticks else min(ticks) if idle else min(end, *ticks))
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
        """Run the ticks that are due; return whether there were any."""
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
        """Serve light requests for as long as the thread would sleep in the middle of another."""
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
        """End the thread once it reaches a safe point, and start none until `unpark`."""
        self._parked = True
        if self.is_here:
            return
        self._inbox.put(None)
        if self._serving.acquire(timeout=_FORK_PATIENCE):
            self._serving.release()
            _wait_until_gone(self._native)

    def unpark(self) -> None:
        """Allow a thread again, and start one if there is work."""
        self._parked = False
        if self._ticks or self._deferred or not self._inbox.empty():
            self._see_to_it()

    def forget(self) -> None:
        """Start over in a forked child: all pending work is its parent's."""
        self.holders.clear()
        self._begin()


def _wait_until_gone(native: int) -> None:
    """Wait until the system no longer counts a thread that has just ended."""
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
