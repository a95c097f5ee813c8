"""Checks of the content of a checkpoint, before anything is restored from it.

A manifest of format 2 has a checksum. So these checks are for checkpoints of older versions, and
for those that a user makes by hand.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from traininglog.loop.checkpoint.folder import Checkpoint
from traininglog.loop.measures.metrics import Metrics
from traininglog.loop.states.numpy_states import examine

_COUNTS = ("epoch", "step", "first_step")
_NUMBER = (float, int)
_COLLECTED = dict.fromkeys(("counter", "nans", "infs"), int) | dict.fromkeys(
    ("weight", "mean", "moment"), _NUMBER
)
_POSITION = {"done": int, "batches": int, "open": bool, "states": dict}


def check(found: Checkpoint) -> None:
    """Raise `ValueError` for content that cannot be a checkpoint of a loop."""
    ended = found.facts.get("ended")
    if ended is not None:
        _require(ended, {"reason": (str, type(None)), "stopped": bool, "params_source": str}, "end")
    best = _of("best", found.trees)
    _require(
        best,
        {"name": str, "smaller": bool, "value": (float, type(None)), "step": int, "waited": int},
        "best value",
    )
    _check_moment(_of("now", found.trees))
    if best.get("moment") is not None and "loop" in _of("moment", best):
        _check_moment(best["moment"])


def _check_moment(moment: dict[str, Any]) -> None:
    _require(
        moment, {"params": object, "loop": dict, "objects": dict, "random": dict, "log": dict},
        "moment",
    )  # fmt: skip
    loop = moment["loop"]
    _require(
        loop,
        dict.fromkeys(_COUNTS, int)
        | {"within_epoch": bool, "elapsed": _NUMBER, "position": dict, "metrics": dict}
        | {"steps_per_epoch": _NUMBER},
        "loop",
    )
    if min(loop[name] for name in _COUNTS) < 0 or loop["first_step"] > loop["step"]:
        raise ValueError("the counters of the loop are no counts")
    _require(loop["position"], _POSITION, "position")
    if min(loop["position"]["done"], loop["position"]["batches"]) < 0:
        raise ValueError("the position in the data is no count")
    _check_metrics(loop["metrics"])
    if "began" in loop["position"]:
        _check_random(_of("began", loop["position"]))
    _check_random(moment["random"])
    _require(moment["log"], {"uuid": str, "status": dict}, "log")


def _check_metrics(metrics: dict[str, Any]) -> None:
    _require(metrics, {"in_step": dict, "outside": dict, "collectors": dict}, "metrics")
    for waiting in (metrics["in_step"], metrics["outside"]):
        for numbers in waiting.values():
            if not isinstance(numbers, list) or not all(type(one) is float for one in numbers):
                raise ValueError("a metric is not made of numbers")
    for collectors in metrics["collectors"].values():
        for state in collectors.values():
            _require(state, _COLLECTED, "metric")
    Metrics().set_state(metrics)


def _check_random(state: dict[str, Any]) -> None:
    """Set fresh generators to the states: they raise for a state that does not fit."""
    if not isinstance(state.get("own"), dict):
        raise ValueError("there are no states of the program's own generators")
    random.Random().setstate(state["python"])  # noqa: S311 - to try the state, not to draw
    if "numpy" in state:
        import numpy

        generator = numpy.random.RandomState()
        examine(state["numpy"], generator)
        generator.set_state(state["numpy"])
    torch = sys.modules.get("torch")
    if "torch" in state and torch is not None:
        torch.Generator().set_state(state["torch"])


def _of(name: str, tree: dict[str, Any]) -> dict[str, Any]:
    found = tree.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"it has no {name}")
    return found


def _require(tree: dict[str, Any], kinds: dict[str, Any], what: str) -> None:
    """Raise `ValueError` unless a dict has all the names, each with a value of its type."""
    for name, kind in kinds.items():
        wanted = kind if isinstance(kind, tuple) else (kind,)
        if name not in tree:
            raise ValueError(f"the {what} has no {name}")
        value = tree[name]
        # Compare exact types: True is an int to Python, and is none here.
        if object not in wanted and (
            type(value) not in wanted and not (kind is dict and isinstance(value, dict))
        ):
            raise ValueError(f"{name} of the {what} is a {type(value).__name__}")
