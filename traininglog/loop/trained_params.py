"""Which parameters an earlier loop of this process trained, for which run.

A second loop on the same log goes on with them as they are, and needs no warning.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

from traininglog.base import TrainingLogBase
from traininglog.loop.states.objects import Holder

#: By the run, something that lives as long as its parameters do.
_TRAINED: dict[str, weakref.ref[Any]] = {}


def remember_trained(log: TrainingLogBase, params: object) -> None:
    """Remember that parameters are as a run has left them."""
    found = _lasting(params)
    if found is not None:
        _TRAINED[log.h_uuid] = weakref.ref(found)
    for run in [run for run, reference in _TRAINED.items() if reference() is None]:
        del _TRAINED[run]


def was_trained(log: TrainingLogBase, params: object) -> bool:
    """Tell whether a run has left these very parameters."""
    reference = _TRAINED.get(log.h_uuid)
    return reference is not None and reference() is not None and reference() is _lasting(params)


def _lasting(params: object) -> Any:
    """Return what can be referred to weakly: the object itself, or the first array in it."""
    while isinstance(params, (Mapping, list, tuple)) and not isinstance(params, Holder):
        if not params:
            return None
        params = next(iter(params.values() if isinstance(params, Mapping) else params))
        params = getattr(params, "__self__", params)  # of a method: the object that has it
    try:
        weakref.ref(params)
    except TypeError:
        return None
    return params
