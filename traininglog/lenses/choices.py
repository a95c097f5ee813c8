"""What `include` and `exclude` name, and whether there is such a thing: a typo is told at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from traininglog.errors import TrainingLogWarning
from traininglog.lenses.lens import AbstractLens, Lens

#: How many names a warning has at most.
MOST = 8

#: After how many active stretches something that did not come is told of. What was asked for by
#: name, and what cannot come any more, is told of after the first.
PATIENCE = 3


def tell(text: str) -> None:
    """Warn of something that would be missed in silence."""
    warnings.warn(text, TrainingLogWarning, stacklevel=2)


def unmatched(things: Iterable[object], layers: Iterable[tuple[object, str]]) -> list[Any]:
    """Return the names and classes that are none of the layers': (module, name)."""
    there: set[object] = set()
    for module, name in layers:
        there |= {name, type(module)}
    return [thing for thing in things if thing not in there]


def tell_choices(lenses: Iterable[AbstractLens], layers: Sequence[tuple[object, str]]) -> None:
    """Warn of what lenses are confined to, or leave out, and no layer is: (module, name)."""
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
    """Return names as a text, the first of them where they are many."""
    shown = ", ".join(map(repr, names[:MOST]))
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"
