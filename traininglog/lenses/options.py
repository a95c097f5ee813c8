"""The options that several lenses share, each described once.

A lens takes the options of one of these dicts as keyword arguments, and declares them as
``**options: Unpack[LineOptions]``, which type checkers and editors understand. `complete` refuses
unknown options and adds the defaults. `signature_of` returns the signature that `help` and
notebooks show.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypedDict, TypeVar, cast, get_args, get_type_hints


class LayerOptions(TypedDict, total=False):
    """Which layers a lens observes.

    Args:
        include: Names of layers, or classes of modules: observe only these.
        exclude: Names or classes to ignore, even if `include` names them.

    """

    include: Iterable[Any]
    exclude: Iterable[Any]


class LineOptions(LayerOptions, total=False):
    """Which statistics over a tick are computed and drawn.

    Args:
        running: Whether to keep only running moments. If False, all values are kept until the
            tick, for true quantiles.
        line: The statistic over the tick that is drawn as a line, or several of them:
            ``line=["mean", "max"]``; see `statistics.POINTS`.
        ranges: The ranges around the line; see `statistics.RANGES`.

    """

    running: bool
    line: str | Sequence[str]
    ranges: Sequence[str]


class NormOptions(LineOptions, total=False):
    """How a norm is computed and drawn.

    Args:
        normalize_by_size: Whether to divide the norm by the root of the number of elements: the
            root mean square.
        log_scale: Whether the axis of the norm is logarithmic.

    """

    normalize_by_size: bool
    log_scale: bool


class ShareOptions(NormOptions, total=False):
    """Whether the norms of layers are compared.

    Args:
        comparison_plot: Whether to compute each layer's share of the sum over the layers.
        comparison_line: The statistic whose shares are computed; by default the (first) line.

    """

    comparison_plot: bool
    comparison_line: str | None


class DirectionOptions(NormOptions, total=False):
    """Whether directions are compared.

    Args:
        correlation: Whether to compute the cosine between two consecutive observations, which
            needs a copy of the array.

    """

    correlation: bool


class PassOptions(TypedDict, total=False):
    """Which forward passes count.

    Args:
        record_eval: Whether passes in evaluation count, too.
        evaluation_from_grad: If True, a pass is evaluation if autograd records no graph. If False,
            it is evaluation if the module is in ``eval()`` mode.

    """

    record_eval: bool
    evaluation_from_grad: bool


class PassLayerOptions(LayerOptions, PassOptions, total=False):
    """Both `LayerOptions` and `PassOptions`."""


class PassLineOptions(LineOptions, PassOptions, total=False):
    """Both `LineOptions` and `PassOptions`."""


class PassShareOptions(ShareOptions, PassOptions, total=False):
    """Both `ShareOptions` and `PassOptions`."""


class _All(ShareOptions, DirectionOptions, PassOptions, total=False):
    """All options."""


#: The defaults of the options; a lens may override them by `Lens.defaults`.
DEFAULTS: _All = {
    "include": (),
    "exclude": (),
    "running": True,
    "line": "mean",
    "ranges": ("std", "min-max"),
    "normalize_by_size": False,
    "log_scale": False,
    "comparison_plot": True,
    "comparison_line": None,
    "correlation": True,
    "record_eval": False,
    "evaluation_from_grad": False,
}

Options = TypeVar("Options", bound=Mapping[str, Any])


def complete(
    lens: type, kind: type[Options], options: Options, defaults: Mapping[str, Any]
) -> Options:
    """Return options, completed with the defaults.

    Args:
        lens: The lens.
        kind: The TypedDict of its options.
        options: The given options.
        defaults: The defaults of the lens, which override `DEFAULTS`.

    Raises `TypeError` for an option that does not exist.
    """
    known = _names_of(kind)
    for name in options:
        if name not in known:
            raise TypeError(f"{lens.__name__} takes no argument {name!r}; it takes {sorted(known)}")
    found = {name: DEFAULTS.get(name) for name in known} | dict(defaults) | dict(options)
    return cast(Options, {name: found[name] for name in known})


def drawn(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that `Lens.chart` takes: `running`, `line` and `ranges`."""
    return {name: options[name] for name in ("running", "line", "ranges")}


def signature_of(lens: type, defaults: Mapping[str, Any]) -> inspect.Signature:
    """Return the signature of a lens, with its options as keyword arguments."""
    make = lens.__init__  # type: ignore[misc]
    signature = inspect.signature(make)
    _, *taken = signature.parameters.values()
    kind = _options_of(make, taken[-1]) if taken else None
    if kind is not None:
        types = get_type_hints(kind)
        taken[-1:] = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, DEFAULTS.get(name)),
                annotation=types[name],
            )
            for name in _names_of(kind)
        ]
    return signature.replace(parameters=taken)


def _options_of(make: Callable[..., Any], last: inspect.Parameter) -> Any:
    """Return the TypedDict of options that a function unpacks, or None."""
    if last.kind is not inspect.Parameter.VAR_KEYWORD:
        return None
    try:
        unpacked = get_args(get_type_hints(make).get(last.name))
    except (NameError, TypeError):  # a lens of another package, with types that do not resolve here
        return None
    return unpacked[0] if unpacked and hasattr(unpacked[0], "__optional_keys__") else None


def _names_of(kind: type) -> list[str]:
    """Return the names of the options in a TypedDict, in the order of `DEFAULTS`."""
    return [name for name in DEFAULTS if name in kind.__optional_keys__]  # type: ignore[attr-defined]
