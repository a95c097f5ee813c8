"""A record of the parameters that earlier loops of this process trained, by run.

A second loop on the same log continues with these parameters, and needs no warning.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from traininglog.base import TrainingLogBase
from traininglog.loop.states.objects import Holder

#: By run, a reference to an object that lives as long as the parameters.
_TRAINED: dict[str, weakref.ref[Any]] = {}


def remember_trained(log: TrainingLogBase, params: object) -> None:
    """Record that a run has trained these parameters."""
    found = _lasting(params)
    if found is not None:
        _TRAINED[log.h_uuid] = weakref.ref(found)
    for run in [run for run, reference in _TRAINED.items() if reference() is None]:
        del _TRAINED[run]


def was_trained(log: TrainingLogBase, params: object) -> bool:
    """Return whether a run has trained these very parameters."""
    reference = _TRAINED.get(log.h_uuid)
    return reference is not None and reference() is not None and reference() is _lasting(params)


def _lasting(params: object) -> Any:
    """Return the object, or the first array in it, if it allows a weak reference; else None."""
    while isinstance(params, (Mapping, list, tuple)) and not isinstance(params, Holder):
        if not params:
            return None
        params = next(iter(params.values() if isinstance(params, Mapping) else params))
        params = getattr(params, "__self__", params)  # a method stands for its object
    try:
        weakref.ref(params)
    except TypeError:
        return None
    return params
