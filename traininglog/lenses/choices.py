"""Checks of `include` and `exclude`: a warning for names that no layer has, such as typos."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from traininglog.errors import TrainingLogWarning
from traininglog.lenses.lens import AbstractLens, Lens

#: The maximal number of names in a warning.
MOST = 8

#: The number of active stretches after which a warning tells of arrays that never came. If a lens
#: named them, or they cannot come any more, the first stretch is enough.
PATIENCE = 3


def tell(text: str) -> None:
    """Warn of a problem that would otherwise go unnoticed."""
    warnings.warn(text, TrainingLogWarning, stacklevel=2)


def unmatched(things: Iterable[object], layers: Iterable[tuple[object, str]]) -> list[Any]:
    """Return the names and classes that no layer (module, name) has."""
    there: set[object] = set()
    for module, name in layers:
        there |= {name, type(module)}
    return [thing for thing in things if thing not in there]


def tell_choices(lenses: Iterable[AbstractLens], layers: Sequence[tuple[object, str]]) -> None:
    """Warn of names and classes in `include` and `exclude` that no layer (module, name) has."""
    for lens in lenses:
        if isinstance(lens, Lens):
            included, excluded = lens.named
            tell_unmatched(type(lens).__name__, "include", included, layers)
            tell_unmatched(type(lens).__name__, "exclude", excluded, layers)


def tell_unmatched(
    lens: str, option: str, things: Sequence[object], layers: Sequence[tuple[object, str]]
) -> None:
    """Warn of names and classes in an option of a lens that no layer has."""
    missed = unmatched(things, layers)
    if not missed:
        return
    names = [name for _, name in layers]
    told = []
    for thing in missed:
        if isinstance(thing, type):
            heirs = [name for module, name in layers if isinstance(module, thing)]
            also = f" (a class is matched exactly; of heirs of it there are {listed(heirs)})"
            told.append(thing.__name__ + (also if heirs else ""))
        else:
            near = get_close_matches(str(thing), names, 1)
            told.append(f"{thing!r}" + (f" (did you mean {near[0]!r}?)" if near else ""))
    tell(
        f"{lens}({option}=...) names what this network has not: {', '.join(told)}. "
        f"Its layers are: {listed(names)}"
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a text; of many names, only the first ones."""
    shown = ", ".join(map(repr, names[:MOST]))
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"
