"""Visualizers: they read, from an inspector or from a stored run, and show what is there."""

import base64
import contextlib
import math
import struct
import sys

import notebooks
import numpy as np
import pytest
from rich.console import Console

from traininglog import TrainingLog
from traininglog.errors import MissingExtra
from traininglog.lenses import (
    Histogram,
    Inspector,
    LossMetrics,
    MatplotlibVisualizer,
    OutputActivation,
    OutputNorm,
    PrintVisualizer,
    TagAttributes,
    TensorBoardVisualizer,
    replay,
)
from traininglog.lenses.pictures.of_runs import save


@pytest.fixture
def log():
    """Give a log that lenses wrote to: four layers, one of which comes late, and a NaN."""
    log = TrainingLog()
    chance = np.random.default_rng(0)
    lenses = [LossMetrics(), OutputNorm(log_scale=True), OutputActivation(), Histogram()]
    inspector = Inspector(lenses, log)
    for time in range(1, 9):
        for layer in ("first", "$second$", "_third [x]", "late")[: 3 if time < 4 else 4]:
            inspector.observe("parameter", layer, chance.standard_normal(200) * time)
            inspector.observe("output", layer, np.maximum(chance.standard_normal((8, 5)), 0))
        inspector.push_loss(math.nan if time == 6 else 1 / time, train=True)
        inspector.push_loss(2 / time, train=False)
        inspector.push_metric("accuracy", 1 - 1 / time)
        inspector.tick()
    return log


def replayed(log, visualizer, **options):
    replay(log, visualizer, **options)
    return visualizer


def titles(figure):
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]


LIVE = """
import time
import numpy as np
from traininglog.lenses import Inspector, LossMetrics, MatplotlibVisualizer, OutputNorm
inspector = Inspector([LossMetrics(), OutputNorm()], visualizer=MatplotlibVisualizer())
for step in inspector.range(1, 4):
    inspector.observe("output", "first", np.ones((4, 3)) * step)
    inspector.push_loss(1 / step, train=True)
    print(step)
    time.sleep(0.01)
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_has_one_picture_that_is_written_over_and_has_all_in_the_end(
    tmp_path, monkeypatch
):
    for name in notebooks.FOLDERS:
        monkeypatch.setenv(name, str(tmp_path))
    last = "inspector.push_loss(9.0, train=True); inspector.tick(); inspector.detach()"
    pictures = []
    for cells in ([LIVE], [LIVE.replace("range(1, 4)", "range(1, 2)")], [LIVE, last]):
        (shown,) = [one for one in notebooks.outputs(*cells) if one.output_type == "display_data"]
        pictures.append(base64.b64decode(shown.data["image/png"]))
        assert pictures[-1].startswith(b"\x89PNG")
    assert len(set(pictures)) == 3  # of one tick, of three, of four


def named_beside(page):
    """Return the names in the first legend that has room of its own."""
    beside = next(axis for axis in page.axes if not axis.axison)
    return [text.get_text() for text in beside.get_legend().get_texts()]


def test_big_tags_are_on_top_at_double_height_and_each_other_has_a_column(log):
    (page,) = replayed(log, MatplotlibVisualizer()).figures()
    page.canvas.draw()
    places = {axis.get_title(loc="left"): axis.get_position() for axis in page.axes}
    big = ["loss", "metrics", "output norm shares", "activation warning"]
    small = ["output norm", "activation", "death", "parameter distribution"]
    assert set(titles(page)) == {*big, *small}
    assert min(places[tag].y0 for tag in big) > max(places[tag].y0 for tag in small)
    assert places["loss"].height > 1.5 * places["output norm"].height
    assert len({round(places[tag].x0, 2) for tag in small}) == 4
    drawn = [axis for axis in page.axes if axis.axison]
    assert len(drawn) == 4 + 4 * 4  # an axis per layer
    assert len({axis.get_xlim() for axis in drawn}) == 1


def test_lines_bands_shares_and_the_first_nan_are_drawn(log):
    (page,) = replayed(log, MatplotlibVisualizer()).figures()
    axes = {axis.get_title(loc="left"): axis for axis in page.axes}
    train, *others = axes["loss"].get_lines()
    assert train.get_xdata().tolist() == list(range(1, 9))
    assert train.get_ydata()[3] == pytest.approx(0.25)
    assert math.isnan(train.get_ydata()[5])
    assert [6, 6] in [list(line.get_xdata()) for line in others]  # the red line at the NaN
    assert len(axes["loss"].collections) == 2  # a band for each line
    assert [text.get_text() for text in axes["loss"].get_legend().get_texts()] == [
        "train", "validation",
    ]  # fmt: skip
    assert axes["output norm"].get_yscale() == "log"
    # As they lie over each other.
    assert named_beside(page) == ["late", "_third [x]", "$second$", "first"]
    tops = [
        max(path.get_extents().y1 for path in patch.get_paths())
        for patch in axes["output norm shares"].collections
    ]
    assert tops[-1] == pytest.approx(1.0)
    assert axes["parameter distribution"].collections  # the heat map
    low, high = axes["activation"].get_ylim()
    assert (round(low), round(high)) == (0, 1)


def test_names_that_are_long_and_many_leave_room_for_the_picture(tmp_path):
    """As a transformer's are. A layout that did not come out would warn, and fail this test."""
    visualizer = MatplotlibVisualizer()
    layers = [f"encoder.layers.{number}.self_attention.out_proj" for number in range(20)]
    for tag, attributes in {
        "shares": TagAttributes(kind="relation", big=True),
        "losses": TagAttributes(big=True),
        "more shares": TagAttributes(kind="relation", big=True),
        "norms": TagAttributes(),
        "more": TagAttributes(),
    }.items():
        visualizer.register_tag(tag, attributes)
        for time in (1, 2):
            numbers = {
                layer: {"share": (place + 1) / 210, "mean": 20.0 + 1e-4 * (time + place)}
                for place, layer in enumerate(layers)
            }
            visualizer.plot(time, tag, numbers)
    visualizer.save(tmp_path / "long.png")
    page = visualizer.figures()[0]
    page.canvas.draw()
    for axis in page.axes:
        outer = axis.get_tightbbox()
        legend = axis.get_legend()
        if legend is not None:
            outer = legend.get_window_extent()
            assert outer.width < 1.05 * axis.get_window_extent().width  # it has what it needs
        assert outer.x1 <= page.bbox.x1 + 1
    drawn = [axis for axis in page.axes if axis.axison]
    widths = {axis.get_title(loc="left"): axis.get_position().width for axis in drawn}
    assert widths["norms"] > 1.5 * widths["shares"] > 0.2
    names = named_beside(page)
    assert (len(names), names[0], names[-1]) == (14, "…ttention.out_proj", "and 7 others")
    assert not any(axis.yaxis.get_offset_text().get_text() for axis in drawn)


def test_pages_where_there_is_much(log, tmp_path):
    visualizer = replayed(log, MatplotlibVisualizer(columns=3, rows=2))
    pages = visualizer.figures()
    assert [titles(page) for page in pages[1:]] == [
        ["output norm", "activation", "death"],
        ["parameter distribution"],
        ["parameter distribution"],
    ]
    assert len(titles(pages[0])) == 4 + 3
    assert [path.name for path in visualizer.save(tmp_path / "all.png")] == [
        "all.png", "all-2.png", "all-3.png", "all-4.png",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".png", ".svg", ".SVG"])
def test_pictures_of_a_log_for_the_command_line(log, tmp_path, suffix):
    targets = []

    @contextlib.contextmanager
    def target(path):
        targets.append(path)
        yield path.with_name(path.name + ".part")
        path.with_name(path.name + ".part").rename(path)

    (path,) = save(log, tmp_path / f"run{suffix}", target)
    assert targets == [path]
    content = path.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", content[16:24])
        assert width > 1000
        assert height > 500
    else:
        assert b"<svg" in content
    save(log, path, target, tags=["loss"])
    assert path.read_bytes() != content


def test_one_tick_and_no_tick_can_be_drawn(tmp_path):
    visualizer = MatplotlibVisualizer()
    with pytest.raises(ValueError, match="nothing to draw"):
        visualizer.save(tmp_path / "none.png")
    inspector = Inspector([LossMetrics(), OutputNorm(), Histogram()], visualizer=visualizer)
    inspector.observe("output", "a", np.ones((1, 1)))
    inspector.observe("parameter", "a", np.ones(3))
    inspector.push_loss(0.0)
    inspector.tick()
    assert visualizer.save(tmp_path / "one.png") == [tmp_path / "one.png"]
    visualizer.reset()
    assert visualizer.figures() == []


def test_all_that_is_not_finite_can_be_drawn(tmp_path):
    visualizer = MatplotlibVisualizer()
    visualizer.register_tag("a", TagAttributes(ranges=["std"], log_scale=True, layers=["x"]))
    visualizer.register_tag("b", TagAttributes(kind="relation", big=True))
    visualizer.register_tag("c", TagAttributes(kind="distribution"))
    for time, value in enumerate((math.nan, math.inf, -math.inf, 0.0, None)):
        visualizer.plot(time, "a", {"x": {"mean": value, "std": value}})
        visualizer.plot(time, "b", {"x": {"share": value}})
        visualizer.plot(time, "c", {"x": {"q00": value, "q50": value, "q100": value}})
    visualizer.save(tmp_path / "odd.png")


def test_a_table_is_printed_at_each_tick(log):
    console = Console(record=True, width=160, force_terminal=False)
    replayed(log, PrintVisualizer(console), start=8)
    text = console.export_text()
    assert "8  loss: train 0.125 ±0, validation 0.25 ±0" in text
    assert "accuracy 0.875" in text
    assert "time 8" in text
    assert "_third [x]" in text
    assert "output norm" in text


def test_where_tags_are_many_no_table_is_wider_than_the_terminal():
    console = Console(record=True, width=80, force_terminal=False)
    visualizer = PrintVisualizer(console)
    tags = [f"weight gradient correlation {letter}" for letter in "abcdefghij"]
    for tag in tags:
        visualizer.register_tag(tag, TagAttributes(ranges=["min-max"]))
        points = {"mean": 0.123, "min": -0.5, "max": 0.75}
        visualizer.plot(3, tag, {"encoder.layers.0.linear1": points})
    visualizer.end_tick(3)
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert text.count("0.123 [-0.5, 0.75]") == 10  # each whole, on a line
    assert text.count("correlation") == 10
    assert text.count("time 3") == 1
    assert text.count("encoder.layers.0.linear1") == text.count("layer ")


def test_numbers_with_a_unit_are_shown_with_it():
    console = Console(record=True, width=80, force_terminal=False)
    pictures = MatplotlibVisualizer()
    for visualizer in (PrintVisualizer(console), pictures):
        visualizer.register_tag("memory", TagAttributes(line="MiB", big=True))
        visualizer.plot(1, "memory", {"parameters": {"MiB": 1.5}})
        visualizer.end_tick(1)
    assert console.export_text() == "1  memory: parameters 1.5 MiB\n"
    (page,) = pictures.figures()
    assert page.axes[0].get_ylabel() == "MiB"


def test_tensorboard_gets_scalars(log, tmp_path):
    pytest.importorskip("tensorboardX")
    visualizer = replayed(log, TensorBoardVisualizer(tmp_path))
    visualizer.close()
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"output_norm/first/mean" in written
    assert b"loss/train/std" in written


def test_a_writer_of_ones_own():
    told = []

    class Writer:
        def add_scalar(self, name, value, time):
            told.append((name, value, time))

        def flush(self):
            told.append("flushed")

    inspector = Inspector([LossMetrics()], visualizer=TensorBoardVisualizer(writer=Writer()))
    inspector.push_loss(2.0)
    inspector.tick(3)
    assert told == [("loss/train/mean", 2.0, 3), ("loss/train/std", 0.0, 3), "flushed"]


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("matplotlib", MatplotlibVisualizer, r"traininglog\[plot\]"),
        ("tensorboardX", TensorBoardVisualizer, r"traininglog\[tensorboard\]"),
    ],
)
def test_a_missing_extra_says_which_to_install(monkeypatch, module, make, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=extra):
        make()


def test_without_pytorch_its_inspector_says_what_to_install_and_the_rest_is_there(monkeypatch):
    from traininglog import lenses

    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(vars(lenses), "TorchInspector", raising=False)
    for name in sorted(name for name in sys.modules if name.startswith("traininglog.lenses.torch")):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtra, match=r"traininglog\[lenses\]"):
        _ = lenses.TorchInspector
    for name in set(lenses.__all__) - {"TorchInspector"}:
        assert getattr(lenses, name)
