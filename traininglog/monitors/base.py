"""The base class of monitors, and a monitor that combines several."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Self

from traininglog.blocks import block
from traininglog.errors import TrainingLogError, TrainingLogWarning


class StopTraining(Exception):
    """A monitor raises this to end the training. A `CompositeMonitor` always passes it on."""


class Monitor(ABC):
    """An observer that receives the measurements of a trainer.

    A trainer calls `start_session` once, `write` after every step, and `end_session`; or it uses
    ``with monitor.session(num_steps):``, which ends the session whatever happens.

    Args:
        name: The attribute name of the monitor in a `CompositeMonitor`.

    """

    name: str | None = None

    #: Whether a `CompositeMonitor` raises the errors of this monitor.
    vital = False

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    @abstractmethod
    def write(self, data: Mapping[str, object], step: float, **kwargs: object) -> None:
        """Record the measurements of one step.

        Args:
            data: Names and values: numbers, tensors, further dicts. The monitor does not change it.
            step: The step that has just ended. The first step of a session is 1. A trainer that
                computes a batch in several pieces may write parts of a step: 0.25, 0.5, 0.75, 1.
            kwargs: Further data of the trainer.

        """

    def start_session(self, num_steps: int | None, **kwargs: object) -> None:  # noqa: B027 - optional
        """Begin a session: a training or an evaluation.

        Args:
            num_steps: The number of steps to come, or None if it is unknown.
            kwargs: Further data of the trainer.

        """

    def end_session(self, **kwargs: object) -> None:  # noqa: B027 - optional
        """End the session. Does nothing if none has begun."""

    def composed(self, siblings: Sequence[Monitor]) -> None:  # noqa: B027 - optional
        """Receive the monitors of the `CompositeMonitor` that this one, among them, joins."""

    @block
    def session(self, num_steps: int | None = None, **kwargs: object) -> Iterator[Self]:
        """Start a session, and end it when the block ends, also by an exception."""
        try:
            self.start_session(num_steps, **kwargs)
            yield self
        except BaseException as error:
            try:
                self.end_session()
            except Exception as second:  # noqa: BLE001 - the first error matters
                error.add_note(f"And the session could not be ended: {second!r}")
            raise
        self.end_session()

    def __add__(self, other: object) -> CompositeMonitor:
        if not isinstance(other, Monitor):
            return NotImplemented
        return CompositeMonitor([self, other])

    def __radd__(self, other: object) -> Self:
        if other == 0 and isinstance(other, int):  # sum() begins with 0
            return self
        return NotImplemented

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class CompositeMonitor(Monitor):
    """Several monitors as one: it passes each call on to all of them, in order.

    Each monitor is an attribute by its name: ``(a + b).log_monitor``. Composites in `monitors` are
    flattened.

    A monitor that fails does not stop the training, nor its siblings. The first failure of each is
    reported in a `TrainingLogWarning` with its traceback; `failures` counts all. Three errors are
    raised nevertheless, after every sibling has been called: a `StopTraining`, a `TrainingLogError`
    and any error of a `LogMonitor`, because a log that cannot be written is a grave failure.

    Args:
        monitors: The monitors.
        strict: Whether to raise every failure, at once.

    Raises:
        TypeError: Something in `monitors` is not a monitor.
        ValueError: A monitor has no name, or that of another, or one that hides an attribute.

    """

    def __init__(self, monitors: Iterable[Monitor], *, strict: bool = False) -> None:
        super().__init__()
        given = list(monitors)
        for monitor in given:
            if not isinstance(monitor, Monitor):
                raise TypeError(
                    f"a composite is made of monitors, not of a {type(monitor).__name__}"
                )
        #: Whether every failure is raised.
        self.strict: bool = strict or any(
            monitor.strict for monitor in given if isinstance(monitor, CompositeMonitor)
        )
        #: The number of failures of each monitor, by name.
        self.failures: dict[str, int] = {}
        self._children: dict[str, Monitor] = {}
        for monitor in given:
            parts = monitor.monitors if isinstance(monitor, CompositeMonitor) else [monitor]
            for part in parts:
                self._children[self._checked_name(part)] = part
        for part in self._children.values():
            part.composed(self.monitors)

    def _checked_name(self, monitor: Monitor) -> str:
        name, kind = monitor.name, type(monitor).__name__
        if not isinstance(name, str) or not name:
            raise ValueError(
                f"a {kind} without a name cannot be part of a composite, which makes its parts "
                f"reachable by name: {kind}(..., name='...')"
            )
        if name in self._children:
            raise ValueError(
                f"two monitors are named {name!r}: give one of them another name, name='...'"
            )
        if name in vars(self) or hasattr(type(self), name):
            raise ValueError(
                f"a {kind} named {name!r} would not be reachable: a composite has an attribute of "
                "that name; give it another one, name='...'"
            )
        return name

    @property
    def monitors(self) -> list[Monitor]:
        """The monitors, in the order in which they are called."""
        return list(self._children.values())

    def __getattr__(self, name: str) -> Monitor:
        children = self.__dict__.get("_children", {})
        if name in children:
            return children[name]  # type: ignore[no-any-return]
        known = ", ".join(children) or "none"
        raise AttributeError(f"no monitor here is named {name!r}; there are: {known}")

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._children]

    def start_session(self, num_steps: int | None, **kwargs: object) -> None:
        """Start a session of every monitor."""
        self._tell("start_session", num_steps, **kwargs)

    def write(self, data: Mapping[str, object], step: float, **kwargs: object) -> None:
        """Write to every monitor."""
        self._tell("write", data, step, **kwargs)

    def end_session(self, **kwargs: object) -> None:
        """End the session of every monitor, even if one of them fails."""
        self._tell("end_session", **kwargs)

    def _tell(self, what: str, *args: object, **kwargs: object) -> None:
        grave: list[Exception] = []
        reports: list[str] = []
        for name, child in self._children.items():
            try:
                getattr(child, what)(*args, **kwargs)
            except Exception as error:
                if self.strict and what != "end_session":
                    raise
                if (
                    self.strict
                    or child.vital
                    or isinstance(error, (TrainingLogError, StopTraining))
                ):
                    grave.append(error)
                else:
                    self.failures[name] = self.failures.get(name, 0) + 1
                    if self.failures[name] == 1:
                        reports.append(_report(name, what, error))
        if grave:
            # A broken log comes first: a trainer that catches StopTraining must not miss it.
            grave.sort(key=lambda raised: isinstance(raised, StopTraining))
            for other in grave[1:]:
                grave[0].add_note(f"And another monitor raised {other!r}")
            for report in reports:
                grave[0].add_note(report)
            raise grave[0]
        for report in reports:
            warnings.warn(report, TrainingLogWarning, stacklevel=3)


def _report(name: str, what: str, error: Exception) -> str:
    import traceback

    return (
        f"the monitor {name!r} failed in {what}(); the training goes on, and more failures of "
        "this monitor are only counted, in CompositeMonitor.failures\n"
        + "".join(traceback.format_exception(error))
    )
