"""The states of all random generators that a training draws from."""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from typing import Any

from traininglog.loop.errors import CheckpointUnusable
from traininglog.loop.states.objects import put, take


def capture(own: Mapping[str, Any]) -> dict[str, Any]:
    """Return the states of Python's generator, of NumPy's and torch's if loaded, and of `own`.

    `own` contains the generators that the program passed to the loop, by name.
    """
    state: dict[str, Any] = {"python": random.getstate()}
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None:
        state["numpy"] = numpy.random.get_state(legacy=False)
    if torch is not None:
        state["torch"] = torch.get_rng_state()
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            state["cuda"] = torch.cuda.get_rng_state_all()
    state["own"] = {name: take(generator) for name, generator in own.items()}
    return state


def restore(state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Set the generators to the states that `capture` returned.

    Devices that the checkpoint had and this machine lacks are left out. Raises `CheckpointUnusable`
    before it sets any generator.
    """
    torch = sys.modules.get("torch")
    if "torch" in state and torch is None:
        raise CheckpointUnusable(
            "the checkpoint has the state of torch's random generator: import torch first"
        )
    random.setstate(state["python"])
    if "numpy" in state:
        import numpy

        numpy.random.set_state(state["numpy"])
    if "torch" in state and torch is not None:
        torch.set_rng_state(state["torch"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    for name, generator in own.items():
        if name in state["own"]:
            put(generator, state["own"][name], name)
