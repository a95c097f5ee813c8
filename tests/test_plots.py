"""Pictures for a paper: what their artists say, and that nothing is hidden unsaid."""

import math
import re
import subprocess
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from command_line import run

from traininglog import SQLiteLog, Store, TrainingLog
from traininglog.errors import BadQuery, MissingExtra

pytest.importorskip("matplotlib")

from traininglog.plots.curves import Curve, smoothed, thinned, within_float
from traininglog.plots.look import Shades, literal
from traininglog.plots.means import half_width, mean_of
from traininglog.run_info import resumes_of

NAN, INF = math.nan, math.inf


def curve(xs, ys, **more):
    return Curve("loss", "run", np.array(xs), np.array(ys, float), [], **more)


def make(path, count, *, value=lambda r, i: 1 / i + r / 600, steps=20, config=None, key="loss"):
    """Make a store of so many runs."""
    uuids = []
    for number in range(count):
        with SQLiteLog(path) as log:
            log.status["name"] = f"sweep-{number:03d}"
            log.status["config"] = (config or (lambda r: {"lr": 10.0 ** -(r % 3), "seed": r}))(
                number
            )
            for i in range(1, steps + 1):
                if (y := value(number, i)) is not None:
                    log[i][key] = y
            uuids.append(log.uuid)
    return uuids


def lines(axes, gid):
    return [line for line in axes.get_lines() if line.get_gid() == gid]


def legend_texts(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def below(figure):
    return figure.get_supxlabel().replace("\n", " ")


def boxes(figure):
    """Draw a figure, and return the boxes of its panels and colour bars, and of its legends."""
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    panels = [axes.get_window_extent(renderer) for axes in figure.axes if axes.get_visible()]
    return panels, [legend.get_window_extent(renderer) for legend in figure.legends]


# -- curves ---------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 9, 12, 13, 60, 300])
def test_every_run_is_drawn_and_no_legend_hides_a_curve(tmp_path, count):
    make(tmp_path / "runs.db", count, value=lambda r, i: NAN if r == 0 and i == 5 else 1 / i + r)
    with Store(tmp_path / "runs.db") as store, warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = store.plot("loss")
        panels, legends = boxes(figure)
    drawn = lines(figure.axes[0], "curve")
    assert len(drawn) == count
    assert drawn[-1].get_ydata()[5:] == pytest.approx([1 / i + count - 1 for i in range(6, 21)])
    assert not any(legend.overlaps(panel) for legend in legends for panel in panels)
    width, height = figure.canvas.get_width_height()
    assert all(box.x0 >= 0 and box.x1 <= width and box.y0 >= 0 and box.y1 <= height
               for box in [*panels, *legends])  # fmt: skip
    if count > 12:
        assert f"{count} runs, in order" in figure.axes[1].get_ylabel()
        assert legend_texts(figure) == ["NaN"]
    elif count > 1:
        assert legend_texts(figure) == [*(f"sweep-{i:03d}" for i in range(count)), "NaN"]


def test_a_run_has_the_same_colour_in_all_panels(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["b"] = 1.0
    for _ in range(2):
        with SQLiteLog(tmp_path / "runs.db") as log:
            log[1].update(a=1.0, b=2.0)
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot()
    colours = {
        axes.get_ylabel(): [line.get_color() for line in lines(axes, "curve")]
        for axes in figure.axes
    }
    assert len(set(colours["b"])) == 3
    assert colours["a"] == colours["b"][1:]
    assert "1 of 3 runs without a number a" in below(figure)


def test_nan_infinities_and_resumes_are_marked_and_told(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        for i in range(1, 30):
            log[i]["loss"] = NAN if 5 <= i < 8 else INF if i == 12 else -INF if i == 20 else 1.0
        log.resume(at=25)
        log[26]["loss"] = 2.0
        figure = log.plot("loss")
    (axes,) = figure.axes
    for kind, at in (("nan", 5), ("inf", 12), ("-inf", 20)):
        (marks,) = lines(axes, kind)
        assert list(marks.get_xdata()) == [at]
    (resumed,) = lines(axes, "resumed")
    assert list(resumed.get_xdata()) == [25, 25]
    assert legend_texts(figure) == ["resumed", "NaN", "infinity", "-infinity"]
    assert "loss: first NaN at time 5" in below(figure)
    (drawn,) = lines(axes, "curve")
    assert np.isnan(drawn.get_ydata()).sum() == 5


def test_many_resumes_are_marked_at_the_edge(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        for i in range(1, 12):
            log[i]["loss"] = 1.0
            log.resume()
        log[12]["loss"] = 1.0
        (resumed,) = lines(log.plot("loss").axes[0], "resumed")
    assert list(resumed.get_xdata()) == list(range(1, 12))


def test_what_an_axis_cannot_show_is_counted(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        for i in range(10):
            log[i]["loss"] = i - 3.0
        log[10]["loss"] = "text"
        log[11]["loss"] = None
        figure = log.plot("loss", log_x=True, log_y=True)
    assert "1 values of loss that are not numbers" in below(figure)
    assert "1 points of loss at x that are not positive" in below(figure)
    assert "3 values of loss that are not positive" in below(figure)
    assert figure.axes[0].get_xscale() == figure.axes[0].get_yscale() == "log"


def test_a_log_in_memory_is_drawn_too():
    log = TrainingLog()
    for i in range(1, 5):
        log[i].update(loss=1 / i, step=i * 100)
    figure = log.plot("loss", x="step", title="T", xlabel="X", ylabel="Y", size=(4, 3))
    (axes,) = figure.axes
    assert list(lines(axes, "curve")[0].get_xdata()) == [100, 200, 300, 400]
    assert (figure.get_suptitle(), axes.get_xlabel(), axes.get_ylabel()) == ("T", "X", "Y")
    assert tuple(figure.get_size_inches()) == (4, 3)
    assert figure._repr_png_().startswith(b"\x89PNG")


def test_a_resumed_run_is_one_curve_and_all_shows_each_run(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        for i in range(1, 11):
            log[i]["loss"] = 1.0
        log.resume(at=5)
        for i in range(6, 11):
            log[i]["loss"] = 2.0
    with Store(tmp_path / "runs.db") as store:
        (one,) = lines(store.plot("loss").axes[0], "curve")
        assert list(one.get_ydata()) == [1.0] * 5 + [2.0] * 5
        each = lines(store.plot("loss", every=True).axes[0], "curve")
        assert sorted(len(line.get_xdata()) for line in each) == [5, 10]


def test_pyplot_is_never_touched(tmp_path):
    make(tmp_path / "runs.db", 3)
    code = (
        "import sys; from traininglog import Store; s = Store(sys.argv[1]);"
        "assert 'matplotlib' not in sys.modules;"
        "s.plot('loss').savefig(sys.argv[1] + '.png'); s.plot('loss', kind='parallel');"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "runs.db")], check=True)


# -- smoothing and thinning -----------------------------------------------------------------


def test_smoothing_follows_its_formula_and_never_reaches_across_a_gap():
    xs, ys = [0, 1, 4, 5, 6, 9], [1.0, 2.0, 0.0, NAN, 5.0, 6.0]
    found = smoothed(xs, ys, 2.0)
    for place, last in ((1, 0), (2, 0), (5, 4)):
        weights = [math.exp((xs[j] - xs[place]) / 2) for j in range(last, place + 1)]
        wanted = np.average(ys[last : place + 1], weights=weights)
        assert found[place] == pytest.approx(wanted)
    assert np.isnan(found[3])
    assert (found[0], found[4]) == (1.0, 5.0)


def test_smoothing_does_not_depend_on_how_often_a_run_logs():
    often, seldom = np.arange(0, 200, 1), np.arange(0, 200, 4)
    a = smoothed(often, 1.0 * often, 20)[::4]
    b = smoothed(seldom, 1.0 * seldom, 20)
    assert np.abs(a - b)[20:].max() < 2.0  # the half of a step of the seldom one
    assert smoothed([0, 1], [1.7e308, 1.7e308], 3).tolist() == pytest.approx([1.7e308, 1.7e308])


def test_the_raw_curve_is_faint_behind_the_smoothed_one(tmp_path):
    make(tmp_path / "runs.db", 1, value=lambda r, i: i % 2)
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", smooth=5)
    (raw,), (strong,) = (lines(figure.axes[0], gid) for gid in ("raw", "curve"))
    assert raw.get_alpha() < 0.5
    assert list(raw.get_ydata()) == [i % 2 for i in range(1, 21)]
    assert np.ptp(strong.get_ydata()[5:]) < 0.5
    assert "not smoothed" in legend_texts(figure)


def test_a_large_run_is_thinned_and_keeps_each_extreme():
    generator = np.random.default_rng(3)
    ys = generator.normal(size=200_000)
    ys[[77, 123_456]] = [50.0, -60.0]
    ys[100_000] = NAN
    xs, kept = thinned(np.arange(200_000), ys, 4000)
    assert len(xs) <= 5000
    assert {50.0, -60.0} <= set(kept)
    assert (xs[0], xs[-1]) == (0, 199_999)
    assert np.isnan(kept).sum() == 1
    assert (np.diff(xs) > 0).all()


def test_times_past_what_a_float_holds_stay_apart():
    moved, first = within_float([curve([2**60 + 1, 2**60 + 2], [1, 2])])
    assert first == 2**60 + 1
    assert list(moved[0].xs) == [0, 1]


# -- groups ---------------------------------------------------------------------------------


def test_a_group_is_the_mean_of_its_runs_with_a_band(tmp_path):
    make(tmp_path / "runs.db", 9, value=lambda r, i: r + i)
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", group_by="config.lr", band="std")
    (axes,) = figure.axes
    means = lines(axes, "mean")
    assert [line.get_ydata()[0] for line in means] == [6.0, 5.0, 4.0]  # lr 0.01, 0.1, 1
    band = axes.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (6.0 - 3.0, 25.0 + 3.0)
    assert axes.collections[0].get_facecolor()[0][:3] == pytest.approx(
        __import__("matplotlib.colors").colors.to_rgb(means[0].get_color())
    )
    assert legend_texts(figure) == [
        "0.01 (n = 3)", "0.1 (n = 3)", "1 (n = 3)", "standard deviation",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("band", "low", "high"),
    [("std", 1.0, 1.0), ("sem", 3**-0.5, 3**-0.5), ("minmax", 1.0, 1.0),
     ("ci95", 4.302653 * 3**-0.5, 4.302653 * 3**-0.5)],
)  # fmt: skip
def test_each_band_is_what_it_is_called(band, low, high):
    found = mean_of([curve([1], [y]) for y in (1.0, 2.0, 3.0)], band)
    assert found.mean.tolist() == [2.0]
    assert (2 - found.low[0], found.high[0] - 2) == pytest.approx((low, high), rel=1e-5)
    assert half_width([1.0, 2.0, 3.0], band) == pytest.approx((low, high), rel=1e-5)


def test_runs_with_other_steps_count_on_the_line_between_their_values():
    found = mean_of([curve([0, 10], [0, 10]), curve([0, 5, 10, 20], [0, 0, 0, 0])], "minmax")
    assert found.xs.tolist() == [0, 5, 10, 20]
    assert found.mean.tolist() == [0, 2.5, 5, 0]
    assert found.counts() == [(0, 2), (20, 1)]
    assert np.isnan(found.low[-1])


def test_a_group_with_one_run_has_no_band_and_says_so(tmp_path):
    make(tmp_path / "runs.db", 4, config=lambda r: {"lr": 0.1 if r else 0.5})
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", group_by="config.lr")
    assert legend_texts(figure)[:2] == ["0.1 (n = 3)", "0.5 (n = 1)"]
    assert len(figure.axes[0].collections) == 1


def test_a_group_of_nan_is_marked_and_enters_no_mean(tmp_path):
    make(tmp_path / "runs.db", 4, value=lambda r, i: NAN if r == 1 or (r == 2 and i > 10) else 1.0,
         config=lambda r: {"lr": r % 2})  # fmt: skip
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", group_by="config.lr")
        panels, legends = boxes(figure)
    assert legend_texts(figure)[:2] == ["0 (n = 1 to 2)", "1 (n = 1)"]
    assert "0: 2, 1 from 11" in below(figure)
    assert "first NaN at time 1, sweep-001" in below(figure)
    assert np.array_equal(lines(figure.axes[0], "mean")[0].get_ydata(), np.ones(20))
    assert not any(legend.overlaps(panel) for legend in legends for panel in panels)


def test_a_metric_that_half_of_the_runs_lack_is_told(tmp_path):
    make(tmp_path / "runs.db", 3)
    make(tmp_path / "runs.db", 3, key="other")
    with Store(tmp_path / "runs.db") as store:
        for kind, more in (
            ("curves", {}), ("curves", {"group_by": "config.lr"}),
            ("bar", {"group_by": "config.lr"}), ("scatter", {"x": "config.lr"}), ("parallel", {}),
        ):  # fmt: skip
            assert "3 of 6 runs without" in below(store.plot("loss", kind=kind, **more))


def test_runs_without_the_fact_are_a_group_and_an_unknown_one_is_an_error(tmp_path):
    make(tmp_path / "runs.db", 3, config=lambda r: {"lr": 0.1} if r else {})
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", group_by="config.lr")
        assert legend_texts(figure)[:2] == ["0.1 (n = 2)", "none (n = 1)"]
        with pytest.raises(BadQuery, match="lr"):
            store.plot("loss", group_by="config.rl")


def test_many_groups_have_a_colour_bar(tmp_path):
    make(tmp_path / "runs.db", 30, config=lambda r: {"lr": r % 15})
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", group_by="config.lr")
    assert figure.axes[1].get_ylabel() == "config.lr: 15 groups, in order"
    assert len(lines(figure.axes[0], "mean")) == 15


def test_a_band_that_reaches_below_zero_leaves_room_for_the_lines(tmp_path):
    make(tmp_path / "runs.db", 3, value=lambda r, i: 0.1 if r else 10.0, config=lambda r: {"a": 1})
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", group_by="config.a", log_y=True)
    assert figure.axes[0].get_ylim()[0] > 1
    assert "bands reach lower than the logarithmic axis shows" in below(figure)


# -- comparisons ----------------------------------------------------------------------------


def test_a_scatter_has_a_point_per_run_and_says_which_are_left_out(tmp_path):
    make(tmp_path / "runs.db", 6, value=lambda r, i: NAN if r == 5 else float(r))
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", kind="scatter", x="config.lr", log_x=True)
    (points,) = lines(figure.axes[0], "points")
    assert list(zip(*points.get_data(), strict=True)) == [
        (1.0, 0.0), (0.1, 1.0), (0.01, 2.0), (1.0, 3.0), (0.1, 4.0),
    ]  # fmt: skip
    assert "1 runs with a NaN or an infinity" in below(figure)


def test_a_scatter_over_texts_has_a_place_for_each(tmp_path):
    make(tmp_path / "runs.db", 4, config=lambda r: {"optim": ["$adam_x", "sgd"][r % 2]})
    with Store(tmp_path / "runs.db") as store:
        axes = store.plot("loss", kind="scatter", x="config.optim").axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["$adam_x", "sgd"]
        with pytest.raises(ValueError, match="logarithmic"):
            store.plot("loss", kind="scatter", x="config.optim", log_x=True)


def test_a_bar_is_the_mean_of_a_group_as_store_groups_has_it(tmp_path):
    make(tmp_path / "runs.db", 9, value=lambda r, i: r * i * 1.0)
    with Store(tmp_path / "runs.db") as store:
        axes = store.plot("loss", kind="bar", group_by="config.lr", band="ci95").axes[0]
        wanted = [group.metrics["loss"] for group in store.iter_groups("config.lr", "loss")]
    assert [bar.get_height() for bar in axes.patches] == [group.mean for group in wanted]
    spans = [
        container.lines[2][0].get_segments()[0][:, 1] for container in axes.containers
        if hasattr(container, "has_yerr")
    ]  # fmt: skip
    assert [(high - low) / 2 for low, high in spans] == pytest.approx([g.ci95 for g in wanted])
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["0.01\nn = 3", "0.1\nn = 3", "1\nn = 3"]


def test_best_follows_the_goal_of_a_run(tmp_path):
    make(tmp_path / "runs.db", 2, value=lambda r, i: float(i if r else -i))
    with Store(tmp_path / "runs.db") as store:
        for of, wanted in (("min", [-20, 1]), ("max", [-1, 20]), ("last", [-20, 20])):
            figure = store.plot("loss", kind="scatter", x="config.seed", of=of)
            assert list(lines(figure.axes[0], "points")[0].get_ydata()) == wanted


def test_parallel_coordinates_have_an_axis_per_difference(tmp_path):
    make(tmp_path / "runs.db", 5, config=lambda r: {"lr": 10.0**-r, "same": 1, "name": "ab"[r % 2]})
    with Store(tmp_path / "runs.db") as store:
        figure = store.plot("loss", kind="parallel")
        axes = figure.axes[0]
        names = [label.get_text() for label in axes.get_xticklabels()]
        assert names == ["config.lr\n(log)", "config.name", "loss"]
        drawn = lines(axes, "curve")
        assert len(drawn) == 5
        assert {tuple(line.get_ydata())[1] for line in drawn} == {0.0, 1.0}
        assert len(lines(store.plot("loss", kind="parallel", x="config.lr").axes[0], "curve")) == 5


# -- hostile names, and mistakes ------------------------------------------------------------

HOSTILE = "$\\frac{_<script>alert(1)</script>--\x1b[2J\n\u202e" + "x" * 5000


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_hostile_names_are_shown_as_they_are_and_do_no_harm(tmp_path, kind):
    for number in range(3):
        with SQLiteLog(tmp_path / "runs.db") as log:
            log.status["name"] = HOSTILE
            log.status["config"] = {"a": HOSTILE, "b": number}
            for i in range(1, 5):
                log[i].update({HOSTILE[:200]: NAN if i == 2 else 1.0, "_k$": float(i)})
    with Store(tmp_path / "runs.db") as store:
        for number, arguments in enumerate((
            {}, {"group_by": "config.a"}, {"kind": "scatter", "x": "config.a", "keys": "*"},
            {"kind": "bar", "group_by": "config.a", "keys": "*"},
            {"kind": "parallel", "x": "config.a,config.b", "keys": "_k$"},
        )):  # fmt: skip
            figure = store.plot(**arguments)
            file = tmp_path / f"{number}.{kind}"
            figure.savefig(file)
            data = file.read_bytes()
            assert b"\x1b[2J" not in data
            assert str(tmp_path).encode() not in data
            if kind == "svg":
                tree = ET.fromstring(data)
                assert not [e for e in tree.iter() if "script" in str(e.tag)]
                assert "\u202e" not in data.decode()
            texts = [text for text in legend_texts(figure) if "frac" in text]
            assert all(text.startswith("$\\frac{_") and len(text) < 60 for text in texts)


def test_files_have_no_date_and_two_of_them_are_equal(tmp_path):
    make(tmp_path / "runs.db", 2)
    with Store(tmp_path / "runs.db") as store:
        for kind in ("svg", "pdf"):
            for name in ("a", "b"):
                store.plot("loss").savefig(tmp_path / f"{name}.{kind}")
            data = (tmp_path / f"a.{kind}").read_bytes()
            assert data == (tmp_path / f"b.{kind}").read_bytes()
            assert not re.search(rb"CreationDate|<dc:date>", data)


def test_a_long_name_is_cut_in_the_middle():
    assert literal("abcdefghij", 7) == "abc…hij"
    assert len(literal("x" * 10_000, 40)) == 40
    assert literal("a\nb\x00") == "a\\nb\\x00"


def test_a_style_brings_its_colours_and_no_other_file(tmp_path):
    make(tmp_path / "runs.db", 2)
    with Store(tmp_path / "runs.db") as store:
        grey = lines(store.plot("loss", style="grayscale").axes[0], "curve")
        assert grey[0].get_color() == "0.00"
        store.plot("loss", style={"font.size": 20.0})
        for style in ("ggplo", "https://example.org/x.mplstyle", "/etc/passwd", {"no.such": 1}):
            with pytest.raises(ValueError, match="matplotlib has no"):
                store.plot("loss", style=style)
    assert Shades(["a", "b"]).colour("a") != Shades(["a", "b"]).colour("b")


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"keys": "los"}, KeyError, "did you mean 'loss'"),
        ({"keys": "text"}, ValueError, "holds a str"),
        ({"keys": "loss", "x": "nope"}, KeyError, "nope"),
        ({"keys": "loss", "band": "sd"}, ValueError, "band must be"),
        ({"keys": "loss", "kind": "pie"}, ValueError, "kind must be"),
        ({"keys": "loss", "smooth": 0}, ValueError, "smooth"),
        ({"keys": "loss", "size": (0, 3)}, ValueError, "inches"),
        ({"keys": "loss", "kind": "bar"}, ValueError, "group_by"),
        ({"keys": "loss", "kind": "scatter"}, ValueError, "fact"),
        ({"kind": "parallel"}, ValueError, "needs the keys"),
        ({"keys": "loss", "name": "nobody*"}, ValueError, "no run is chosen"),
        ({"keys": "loss", "where": "1 +"}, BadQuery, "1"),
        ({"keys": "loss", "kind": "scatter", "x": "config.nope"}, BadQuery, "nope"),
    ],
)
def test_a_mistake_is_an_error_that_says_the_way_out(tmp_path, arguments, error, match):
    make(tmp_path / "runs.db", 2)
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["text"] = "x"
    with Store(tmp_path / "runs.db") as store, pytest.raises(error, match=match):
        store.plot(**arguments)


def test_without_matplotlib_the_error_names_the_extra(tmp_path, monkeypatch):
    make(tmp_path / "runs.db", 1)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    log = TrainingLog()
    log[1]["loss"] = 1.0
    with Store(tmp_path / "runs.db") as store:
        for draw in (store.plot, log.plot):
            with pytest.raises(MissingExtra, match=r"traininglog\[plot\]"):
                draw("loss")


# -- the command line -----------------------------------------------------------------------


def test_the_command_draws_groups_of_the_runs_that_fit(tmp_path, monkeypatch):
    make(tmp_path / "runs.db", 9)
    monkeypatch.setenv("TRAININGLOG_STORE", str(tmp_path / "runs.db"))
    monkeypatch.chdir(tmp_path)
    run("plot", "-k", "loss", "--where", "config.seed < 8", "--name", "sweep-*", "--group-by",
        "config.lr", "--band", "ci95", "--smooth", 3, "--log-x", "--log-y", "--title", "Title",
        "--xlabel", "step", "--ylabel", "L", "--size", "6x4", "--style", "ggplot",
        "-o", "g.svg")  # fmt: skip
    text = (tmp_path / "g.svg").read_text()
    for shown in ("Title", "step", "L", "0.01 (n = 2)", "1 (n = 3)", "95% confidence"):
        assert f"<!-- {shown} -->" in text
    assert 'viewBox="0 0 432 288"' in text
    run("plot", "-k", "loss", "--all", "-o", "all.pdf")
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")
    for kind, more in (("scatter", ["--x", "config.lr"]), ("bar", ["--group-by", "config.lr"]),
                       ("parallel", [])):  # fmt: skip
        run("plot", "-k", "loss", "--kind", kind, *more, "-o", f"{kind}.png")
    for wrong in (["--band", "sd"], ["--kind", "pie"], ["--size", "6"], ["--smooth", "0"]):
        run("plot", "-k", "loss", "-o", "w.png", *wrong, status=2)
    for wrong in (["--where", "1 +"], ["--group-by", "config.rl"], ["--size", "0x4"],
                  ["--style", "nope"], ["--name", "nobody"]):  # fmt: skip
        run("plot", "-k", "loss", "-o", "w.png", *wrong, status=1)
    run("plot", "-k", "loss", "--group-by", "config.lr", status=1)  # no picture is named


def test_the_terminal_shows_the_runs_that_fit(tmp_path, monkeypatch):
    pytest.importorskip("plotille")
    make(tmp_path / "runs.db", 3)
    monkeypatch.setenv("TRAININGLOG_STORE", str(tmp_path / "runs.db"))
    shown = run("plot", "-k", "loss", "--where", "config.seed > 0", "--smooth", 2).stdout
    assert "2 runs" in shown
    assert "sweep-001" in shown
    assert "sweep-000" not in shown


def test_the_pictures_of_the_guide_are_drawn_by_its_code(tmp_path):
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, root / "docs" / "draw.py", tmp_path], check=True)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (root / "docs" / "pictures").glob("sweep-*.png"))
    assert len(drawn) == 4


def test_a_resume_that_a_run_does_not_see_is_not_marked(tmp_path):
    """Its parent was resumed at 8; it goes on from 5, and passes 8 by itself."""
    path = tmp_path / "runs.db"
    log = SQLiteLog(path)
    for at in (None, 8, 5):
        if at is not None:
            log.resume(at=at)
        for time in range((at or 0) + 1, 12):
            log[time]["loss"] = 1 / time
    log.close()
    with Store(path) as store:
        (info,) = store.iter_runs()
        every = {each.uuid: each for each in store.iter_runs(heads=False)}
        assert resumes_of(info, every) == [5]
        pictures = [store.plot("loss"), SQLiteLog(path, info.uuid, readonly=True).plot("loss")]
    for picture in pictures:
        (axes,) = picture.axes
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_gid() == "resumed"]
        assert marks == [5]
