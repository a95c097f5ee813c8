"""The options that several lenses have in common: which lens takes which, with what defaults."""

from __future__ import annotations

import inspect
from typing import ClassVar

import pytest

from traininglog import lenses
from traininglog.lenses import options

LAYERS = {"include": (), "exclude": ()}
LINES = LAYERS | {"running": True, "line": "mean", "ranges": ("std", "min-max")}
NORMS = LINES | {"normalize_by_size": False, "log_scale": False}
SHARES = NORMS | {"comparison_plot": True, "comparison_line": None}
DIRECTIONS = NORMS | {"correlation": True}
PASSES = {"record_eval": False, "evaluation_from_grad": False}
OF = {"parameters": ("weight", "bias")}

TAKEN = {
    "OutputActivation": LINES | PASSES
    | {"activation": True, "dropout": True, "channel_last": False, "warning_plot": True},
    "OutputNorm": SHARES | PASSES | {"activation": True},
    "OutputGradientGeometry": DIRECTIONS | {"skip_activation": True},
    "ParameterGradientGeometry": DIRECTIONS | OF,
    "ParameterGradientActivation": LINES | OF | {"channel_last": False, "warning_plot": False},
    "ParameterNorm": SHARES | OF | {"ranges": ()},
    "ParameterCondition": LAYERS | {"parameters": ("weight",), "exact_up_to": 256},
    "ParameterUpdateGeometry": DIRECTIONS | OF | {"optimizer": None},
    "UpdateRatio": LINES | {"optimizer": None, "parameters": None, "ranges": ("min-max",)},
    "Histogram": LAYERS | PASSES
    | {"of": "parameter", "parameters": ("weight",), "sample": 1024, "size": 256},
}  # fmt: skip


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_lens_takes_can_be_seen_with_its_defaults(name):
    """By `help`, in a notebook, and by whatever asks for a signature."""
    signature = inspect.signature(getattr(lenses, name))
    assert {one.name: one.default for one in signature.parameters.values()} == TAKEN[name]
    assert all(one.annotation is not one.empty for one in signature.parameters.values())
    first = next(iter(signature.parameters.values()))
    assert (first.kind is first.POSITIONAL_OR_KEYWORD) == (
        first.name in ("of", "parameters", "optimizer")
    )


@pytest.mark.parametrize("name", TAKEN)
def test_an_option_that_does_not_exist_is_refused_by_name(name):
    with pytest.raises(TypeError, match=f"{name} takes no argument 'lines'; it takes .*'exclude'"):
        getattr(lenses, name)(lines="mean")


def test_each_option_is_said_once():
    said = {}
    for kind in vars(options).values():
        if isinstance(kind, type) and kind.__name__.endswith("Options"):
            for name in options.DEFAULTS:
                if f"\n    {name}: " in inspect.cleandoc(kind.__doc__ or ""):
                    said.setdefault(name, []).append(kind.__name__)
    assert list(map(len, said.values())) == [1] * len(options.DEFAULTS)


def test_a_lens_that_derives_from_another_has_arguments_of_its_own():
    class Mine(lenses.OutputNorm):
        def __init__(self, limit: float) -> None:
            super().__init__(activation=False, ranges=())
            self.limit = limit

    class Same(lenses.OutputNorm):
        defaults: ClassVar = {"ranges": ("min-max",)}

    assert list(inspect.signature(Mine).parameters) == ["limit"]
    assert Mine(1.0).norm.attributes.ranges == []
    assert inspect.signature(Same).parameters["ranges"].default == ("min-max",)
    assert Same().norm.attributes.ranges == ["min-max"]
