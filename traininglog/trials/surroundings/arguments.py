"""Arguments: the parameters of a trial, from a parser, a namespace, a dict or a dataclass."""

from __future__ import annotations

import dataclasses
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING

from traininglog.masking import masked_values
from traininglog.trials.trial_errors import InvalidParameter
from traininglog.values import StoredValue


class Unset:
    """The default of an argument for which None is a value."""

    def __repr__(self) -> str:
        return "unset"


UNSET = Unset()

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    #: The objects that can hold the parameters of a program.
    Arguments = ArgumentParser | Namespace | Mapping[str, object] | DataclassInstance | None


def stored_arguments(arguments: Arguments, namespace: Namespace) -> dict[str, StoredValue]:
    """Return the arguments to store. In those of a command line, secrets are masked."""
    if isinstance(arguments, (ArgumentParser, Namespace)):
        return masked_values(vars(namespace))
    return vars(namespace)


def arguments_of(
    arguments: Arguments, more: Mapping[str, object], *, show: bool = False
) -> Namespace:
    """Return arguments and `more` as a new Namespace. The arguments take precedence.

    Raises `InvalidParameter` if they are no ArgumentParser, Namespace, mapping or dataclass.
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
