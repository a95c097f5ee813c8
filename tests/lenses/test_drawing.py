"""One axis and one page: lines, labels, red lines, and a layout that takes no time."""

import math
import time

import numpy as np
import pytest
from rich.console import Console

from traininglog import TrainingLog
from traininglog.lenses import (
    Histogram,
    Inspector,
    LossMetrics,
    MatplotlibVisualizer,
    OutputActivation,
    OutputNorm,
    ParameterGradientActivation,
    ParameterNorm,
    PrintVisualizer,
    TagAttributes,
    replay,
    tags_of,
)
from traininglog.lenses.pictures.drawing import tick_texts
from traininglog.lenses.pictures.layout import Page

RED = "#C0392B"


def red(axis):
    """Return the times at which an axis has a red line."""
    return [line.get_xdata()[0] for line in axis.get_lines() if line.get_color() == RED]


def axes(page):
    return {axis.get_title(loc="left"): axis for axis in page.axes if axis.get_title(loc="left")}


def drawn(layers, scale=1.0, big=1, small=3, times=3, **attributes):
    """Return a visualizer of big and small tags with layers, whose values are around a scale."""
    visualizer = MatplotlibVisualizer(live=False)
    for number in range(big + small):
        tag = f"a tag with a name {number}"
        kind = "relation" if number < big and number % 2 else "numeric"
        one = TagAttributes(kind=kind, big=number < big, ranges=["min-max"], **attributes)
        visualizer.register_tag(tag, one)
        for at in range(1, times + 1):
            points = {
                f"encoder.layers.{layer}": {
                    "mean": scale * (at + layer), "min": 0.0, "max": 2 * scale * (at + layer),
                    "share": 1 / layers,
                }
                for layer in range(layers)
            }  # fmt: skip
            visualizer.plot(at, tag, points)
    return visualizer


@pytest.mark.parametrize("scale", [1e-45, 1e-10, 1e-4, 1.0, 1e5, 1e9, 1e300])
@pytest.mark.parametrize("log_scale", [False, True])
def test_no_number_of_any_size_is_drawn_over_the_name_of_a_layer(scale, log_scale):
    (page,) = drawn(4, scale, log_scale=log_scale).figures()
    page.canvas.draw()
    renderer = page.canvas.get_renderer()
    names = [text for axis in page.axes for text in axis.texts if "encoder" in text.get_text()]
    assert len(names) == 12
    taken = []
    for axis in page.axes:
        for along in (axis.xaxis, axis.yaxis):
            assert along.get_offset_text().get_text() == ""
            taken += [text for text in along.get_majorticklabels() if text.get_text()]
    visible = [text.get_window_extent(renderer) for text in taken if text.get_visible()]
    for name in names:
        box = name.get_window_extent(renderer)
        assert not any(box.shrunk(0.9, 0.8).overlaps(other.shrunk(0.9, 0.8)) for other in visible)
    assert all(axis.get_tightbbox(renderer).x0 >= page.bbox.x0 for axis in page.axes)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 2e-11, 4e-11], ["0", "2e-11", "4e-11"]),
        ([-2.5e-9, 0.0, 2.5e-9], ["-2.5e-9", "0.0e0", "2.5e-9"]),
        ([0.0, 0.5, 1.0], ["0", "0.5", "1.0"]),
        ([20.113, 20.1135], ["20.1130", "20.1135"]),
        ([1e6, 1.5e6], ["1.0e6", "1.5e6"]),
        ([1.00001e-7, 1.00002e-7], ["1.00001e-7", "1.00002e-7"]),
        ([0.0], ["0"]),
        ([], []),
        ([math.nan, 1.0], ["nan", "1"]),
        ([5e-324, 1e-323], None),
        ([1e300, 2e300], ["1e300", "2e300"]),
    ],
)
def test_labels_tell_numbers_apart_and_are_no_longer_than_that(values, texts):
    told = tick_texts(values)
    if texts is not None:
        assert [t.replace("0.0e0", "0") for t in told] == [t.replace("0.0e0", "0") for t in texts]
    finite = [value for value in values if math.isfinite(value)]
    assert len({text for text, value in zip(told, values, strict=True) if value in finite}) == len(
        set(finite)
    )


def test_several_lines_are_drawn_beside_each_other_and_named(tmp_path):
    log = TrainingLog()
    lenses = [
        LossMetrics(loss_line=["mean", "median"], running=False),
        OutputNorm(line=["mean", "max"], ranges=["std"], comparison_line="max"),
        ParameterNorm(line=("mean", "min"), comparison_plot=False),
    ]
    console = Console(record=True, width=200, force_terminal=False)
    inspector = Inspector(lenses, log, visualizer=PrintVisualizer(console))
    for at in range(1, 4):
        for value in (1.0, 2.0, 9.0):
            inspector.push_loss(value * at)
            inspector.observe("output", "fc", np.full((1, 1), value))
            inspector.observe("output", "out", np.full((1, 1), 3 * value))
        inspector.observe("parameter", "fc", np.ones(4))
        inspector.tick()
    assert log[1]["loss/train/mean"] == 4.0
    assert log[1]["loss/train/median"] == 2.0
    assert log[1]["output norm/fc/max"] == 9.0
    assert log[1]["output norm shares/out/share"] == 0.75
    assert tags_of(log)["output norm"].lines == ["mean", "max"]
    assert "train mean 4, median 2 ±" in console.export_text()
    visualizer = MatplotlibVisualizer(live=False)
    replay(log, visualizer)
    (page,) = visualizer.figures()
    of = axes(page)
    mean, highest = of["output norm"].get_lines()[:2]
    assert (mean.get_linestyle(), highest.get_linestyle()) == ("-", "--")
    assert highest.get_ydata().tolist() == [9.0] * 3
    assert any("- - max" in text.get_text() for text in of["output norm"].texts)
    assert of["loss"].get_title(loc="right") == "— mean   - - median"
    visualizer.save(tmp_path / "lines.png")


@pytest.mark.parametrize("line", [[], [1], "modus", ["mean", "modus"], 7])
@pytest.mark.parametrize("lens", [OutputNorm, OutputActivation, ParameterNorm])
def test_a_line_that_is_none_is_refused_with_what_there_is(lens, line):
    with pytest.raises((ValueError, TypeError)):
        lens(line=line)


def test_quantiles_are_refused_by_each_of_several_lines_that_are_running():
    with pytest.raises(ValueError, match="'median' needs all values: pass running=False"):
        LossMetrics(loss_line=["mean", "median"])


def test_an_older_log_with_one_line_a_tag_is_read():
    attributes = TagAttributes(line="max").to_dict()
    del attributes["lines"]
    assert TagAttributes.from_dict(attributes).lines == ["max"]


def test_the_first_nan_is_marked_in_every_kind_of_chart(tmp_path):
    log = TrainingLog()
    lenses = [
        OutputActivation(), OutputNorm(), Histogram(), ParameterNorm(),
        ParameterGradientActivation(warning_plot=True),
    ]  # fmt: skip
    inspector = Inspector(lenses, log)
    for at in range(1, 6):
        bad = math.nan if at > 2 else 1.0
        inspector.observe("output", "a", np.full((2, 3), bad))
        inspector.observe("output", "b", np.ones((2, 3)))
        inspector.observe("parameter", "a", np.array([1.0, 2.0, bad]))
        inspector.observe("parameter_gradient", "a", np.array([[0.0, 1.0], [0.0, bad]]))
        inspector.tick()
    for key in ("activation/a", "death/a", "activation warning/activation",
                "activation warning/death", "weight gradient activation/a",
                "weight gradient death/a", "gradient activation warning/activation",
                "gradient activation warning/death"):  # fmt: skip
        assert math.isfinite(log[2][f"{key}/mean"]), key
        assert math.isnan(log[3][f"{key}/mean"]), key
    assert log[3]["activation/b/mean"] == 1.0
    assert log[3]["parameter distribution/a/non-finite"] == pytest.approx(1 / 3)
    assert log[3]["parameter distribution/a/q100"] == 2.0
    assert "parameter distribution/a/non-finite" not in log[2]
    visualizer = MatplotlibVisualizer(live=False)
    replay(log, visualizer)
    pages = visualizer.figures()
    of = {tag: axis for page in pages for tag, axis in axes(page).items()}
    marked = (
        "activation", "death", "activation warning", "output norm", "output norm shares",
        "parameter distribution", "weight norm", "gradient activation warning",
    )  # fmt: skip
    for tag in marked:
        assert red(of[tag])[:1] == [3], tag
    visualizer.save(tmp_path / "nan.png")


def test_a_distribution_of_nothing_finite_is_nan_and_marked():
    log = TrainingLog()
    inspector = Inspector([Histogram()], log)
    inspector.observe("parameter", "a", np.full(3, math.nan))
    inspector.tick()
    assert math.isnan(log[1]["parameter distribution/a/q50"])
    assert log[1]["parameter distribution/a/non-finite"] == 1.0


def test_units_may_be_the_last_axis():
    log = TrainingLog()
    lens = ParameterGradientActivation(channel_last=True)
    inspector = Inspector([lens], log)
    inspector.observe("parameter_gradient", "a", {"weight": np.array([[1.0, 0, 0], [1.0, 1.0, 0]])})
    inspector.tick()
    assert log[1]["weight gradient death/a/mean"] == pytest.approx(1 / 3)
    assert log[1]["weight gradient activation/a/mean"] == 0.5


def test_a_page_is_laid_out_without_trying():
    """The time that a page takes is that of its axes: a solver's grows with their square."""
    took = []
    for layers in (2, 8):
        visualizer = drawn(layers, small=4)
        visualizer.figures()
        begin = time.process_time()
        (page,) = visualizer.figures()
        took.append(time.process_time() - begin)
        assert page.get_layout_engine() is None
    assert took[1] < 4 * 4 * took[0]


def test_charts_lie_beside_each_other_and_over_no_other_one():
    page = Page(3, 2, [4, 1, 10])
    page.widen(0, 9, unit=True)
    page.widen(1, 200)  # no more than half of it is for labels
    boxes = [page.big(0, 0, 1), page.big(0, 1, 3, beside=True), page.names(0, 1, 3)]
    boxes += [page.big(1, 0, 3)]
    boxes += [
        page.small(band, row, column)
        for band, depth in enumerate((4, 1, 10))
        for row in range(depth)
        for column in range(3)
    ]
    for number, one in enumerate(boxes):
        assert 0 < one.left < one.left + one.width < 1
        assert 0 < one.bottom < one.bottom + one.height < 1
        for other in boxes[:number]:
            apart = (
                one.left + one.width <= other.left + 1e-9
                or other.left + other.width <= one.left + 1e-9
                or one.bottom + one.height <= other.bottom + 1e-9
                or other.bottom + other.height <= one.bottom + 1e-9
            )
            assert apart, (one, other)
