"""Arguments: the parameters of a trial, from whatever a program has them in."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from traininglog.masking import masked_values
from traininglog.trials.trial_errors import InvalidParameter
from traininglog.values import StoredValue


class Unset:
    """What stands for an argument that was not given, where None is one."""

    def __repr__(self) -> str:
        return "unset"


UNSET = Unset()

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    #: What a program has its parameters in.
    Arguments = ArgumentParser | Namespace | Mapping[str, object] | DataclassInstance | None


def stored_arguments(arguments: Arguments, namespace: Namespace) -> dict[str, StoredValue]:
    """Return of arguments what is stored: of a command line's, secrets are masked."""
    if isinstance(arguments, (ArgumentParser, Namespace)):
        return masked_values(vars(namespace))
    return vars(namespace)


def arguments_of(
    arguments: Arguments, more: Mapping[str, object], *, show: bool = False
) -> Namespace:
    """Return arguments and `more`, over which they go, as a new Namespace.

    Raises `InvalidParameter` for what is no ArgumentParser, Namespace, mapping or dataclass.
    """
    found: dict[str, StoredValue]
    if arguments is None:
        found = {}
    elif isinstance(arguments, ArgumentParser):
        found = vars(arguments.parse_args())
    elif isinstance(arguments, Namespace):
        found = vars(arguments)
    elif isinstance(arguments, Mapping):
        found = dict(arguments)
    elif dataclasses.is_dataclass(arguments) and not isinstance(arguments, type):
        found = dataclasses.asdict(arguments)
    else:
        raise InvalidParameter(
            "arguments are an ArgumentParser, a Namespace, a dict or a dataclass, not a "
            f"{type(arguments).__name__}: use vars(...) or keywords"
        )
    if any(not isinstance(name, str) for name in found):
        raise InvalidParameter("names of arguments are texts")
    both = Namespace(**{**more, **found})
    if show:
        width = max(map(len, vars(both)), default=0)
        for name, value in vars(both).items():
            print(f"{name:>{width}}: {value!r}")  # noqa: T201 - it was asked for
    return both
