"""`LosswiseMonitor`: sends metrics to Losswise, or to any object with its client's interface."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from traininglog.errors import MissingExtra
from traininglog.monitors.base import Monitor
from traininglog.monitors.flattening import number_in, pick
from traininglog.monitors.steps import Steps

#: Graphs by title; each maps keys to the names to show.
Graphs = Mapping[str, Mapping[str, str]]

_MIN_GRAPHS: Graphs = {
    "loss": {"training_loss": "Training Loss", "test_loss": "Test Loss"},
    "lr": {"learning_rate": "Learning Rate"},
}


class LosswiseMonitor(Monitor):
    """Sends chosen metrics to Losswise, as the client `losswise` does.

    The service is gone. The client can still be pointed at a server of one's own, and any object
    with its interface can be passed: ``set_api_key(key)``; ``Session(tag=, params=, max_iter=)``
    (and ``track_git=`` if it takes that) with ``graph(title, kind=)`` and ``done()``; and a graph
    with ``append(x, {name: value})``.

    The session of the client begins with the first session of the monitor, and lasts for all of
    them, until `close`. Its x are integers: a part of a step is sent at the step it belongs to.

    Args:
        api_key: The key of the account.
        tag: The name of the session.
        params: Values to show beside the session, mostly hyperparameters.
        min_graphs: Graphs of metrics that should be small: ``{title: {key: name to show}}``.
        max_graphs: Graphs of metrics that should be large.
        client: The object to use in place of the module `losswise` (the extra ``losswise``).
        name: The name in a composite.
        track_git: Let the client send facts about the program's git repository: its URL and branch,
            and all edits that are not committed.

    Raises `MissingExtra` if the client is needed and not installed.

    """

    def __init__(
        self,
        api_key: str,
        tag: str,
        params: Mapping[str, Any] | None = None,
        min_graphs: Graphs = _MIN_GRAPHS,
        max_graphs: Graphs | None = None,
        client: Any = None,
        name: str = "losswise_monitor",
        *,
        track_git: bool = False,
    ) -> None:
        super().__init__(name)
        self._client = _import() if client is None else client
        self._client.set_api_key(api_key)
        self._tag = tag
        self._track_git = track_git
        self._params = dict(params or {})
        self._kinds = {"min": dict(min_graphs), "max": dict(max_graphs or {})}
        self._session: Any = None
        self._graphs: list[tuple[Any, Mapping[str, str]]] = []
        self._steps = Steps()

    def start_session(self, num_steps: int | None, **kwargs: Any) -> None:
        """Start a session; the first one also begins the session of the client."""
        if self._session is None:
            self._session = self._client.Session(
                tag=self._tag, params=self._params, max_iter=num_steps,
                **_about_git(self._client.Session, track_git=self._track_git),
            )  # fmt: skip
            self._graphs = [
                (self._session.graph(title, kind=kind), names)
                for kind, graphs in self._kinds.items()
                for title, names in graphs.items()
            ]
        self._steps.start_session()

    def write(self, data: Mapping[str, Any], step: float, **kwargs: Any) -> None:
        """Send the metrics that are in the data. Raises `RuntimeError` before the first session."""
        if self._session is None:
            raise RuntimeError("nothing can be sent yet: start_session(num_steps) comes first")
        at = math.ceil(self._steps.take(step))
        for graph, names in self._graphs:
            found = {shown: number_in(pick(data, key)) for key, shown in names.items()}
            present = {shown: number for shown, number in found.items() if number is not None}
            if present:
                graph.append(at, present)

    def close(self) -> None:
        """End the session of the client. A second call does nothing."""
        if self._session is not None:
            self._session.done()
            self._session, self._graphs = None, []


def _about_git(session: Any, *, track_git: bool) -> dict[str, bool]:
    """Return the argument `track_git` for `session`, if it takes one."""
    try:
        parameters = inspect.signature(session).parameters
    except (TypeError, ValueError):  # a callable in another language has no signature
        return {}
    takes_all = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    return {"track_git": track_git} if takes_all or "track_git" in parameters else {}


def _import() -> Any:
    try:
        import losswise
    except ImportError as error:
        raise MissingExtra(
            "Losswise is reached through its client; install it with: "
            'pip install "traininglog[losswise]", or hand in client='
        ) from error
    return losswise
