"""A monitor that becomes a DataFrame, a file, a picture."""

import math
import random
import sqlite3
import sys
import warnings
from contextlib import closing
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from traininglog import (
    MissingExtra,
    NotATrainingLog,
    RunNotFound,
    SQLiteLog,
    StoreNotFound,
    ValueTypeError,
)
from traininglog.monitors import DataframeMonitor, LogMonitor


def trained(steps=200, **options):
    """Return a monitor of a training with validations and two groups of parameters."""
    noise = random.Random(0)
    monitor = DataframeMonitor(**options)
    with monitor.session(steps):
        for step in range(1, steps + 1):
            data = {
                "training_loss": 1 / step + 0.1 * noise.random(),
                "training_accuracy": 1 - 1 / (1 + step),
                "groups": {
                    name: {"learning_rate": rate / step}
                    for name, rate in (("body", 0.1), ("head", 1.0))
                },
                "training_inputs": [0.0] * 100,
            }
            if step % 10 == 0:
                data["validation_loss"] = 1 / step + 0.2
            monitor.write(data, step)
    return monitor


# -- the frame ----------------------------------------------------------------------------------


def test_the_frame_is_indexed_by_step_and_has_a_column_per_metric():
    df = trained(20).df
    assert df.index.name == "step"
    assert df.index.to_list() == list(range(1, 21))
    assert list(df.columns) == [
        "timestamp", "training_loss", "training_accuracy", "groups/body/learning_rate",
        "groups/head/learning_rate", "validation_loss",
    ]  # fmt: skip
    assert df["validation_loss"].notna().sum() == 2
    assert df["groups/head/learning_rate"].loc[4] == 0.25


def test_each_row_knows_when_it_was_written():
    before = datetime.now(UTC)
    stamps = trained(3).df["timestamp"]
    assert str(stamps.dtype) == "datetime64[us, UTC]"
    assert before - timedelta(seconds=1) < stamps.min()
    assert stamps.is_monotonic_increasing


def test_a_timestamp_of_the_callers_own_stays(tmp_path):
    monitor = DataframeMonitor()
    monitor.write({"timestamp": 17.5, "loss": 1.0}, 1)
    assert monitor.df["timestamp"].to_list() == [17.5]
    monitor.write({"timestamp": datetime(2026, 1, 2)}, 2)
    assert monitor.df["timestamp"].to_list() == [17.5, datetime(2026, 1, 2)]


def test_before_the_first_write_the_frame_is_empty():
    df = DataframeMonitor().df
    assert df.shape == (0, 0)
    assert df.index.name == "step"


def test_the_frame_is_the_callers():
    monitor = trained(3)
    df = monitor.df
    df["training_loss"] = 0.0
    assert (monitor.df["training_loss"] > 0).all()


def test_the_callers_data_is_not_changed():
    data = {"training_loss": 1.0}
    DataframeMonitor().write(data, 1)
    assert data == {"training_loss": 1.0}


def test_steps_of_sessions_are_added_up():
    monitor = DataframeMonitor()
    for _ in range(2):
        with monitor.session(2):
            for step in (0.5, 1, 1.5, 2):
                monitor.write({"loss": 1.0}, step)
    monitor.start_session(2)
    monitor.start_session(2)
    monitor.write({"loss": 1.0}, 1)
    assert monitor.df.index.to_list() == [0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5]


def test_what_the_blacklist_matches_is_left_out():
    monitor = DataframeMonitor(blacklist=["^secret"])
    monitor.write({"secret": object(), "deep": {"secret_too": object(), "loss": 1.0}}, 1)
    assert list(monitor.df.columns) == ["timestamp", "deep/loss"]


def test_a_value_that_cannot_be_kept_is_refused():
    with pytest.raises(ValueTypeError):
        DataframeMonitor().write({"loss": {1.0}}, 1)


def test_a_frame_can_be_gone_on_with():
    old = trained(5).df
    monitor = DataframeMonitor(old)
    pd.testing.assert_frame_equal(monitor.df, old)
    monitor.write({"training_loss": 9.0}, 1)
    assert monitor.df.index.to_list() == [1, 2, 3, 4, 5, 6]
    assert monitor.df["training_loss"].iloc[-1] == 9.0
    with monitor.session(1):
        monitor.write({"training_loss": 9.0}, 1)
    assert monitor.df.index[-1] == 7
    assert len(old) == 5


def test_a_frame_of_another_make_will_do():
    df = pd.DataFrame({"loss": [1.0, np.nan], ("lr", "head"): [1, 2], 3: ["a", None]}, index=[1, 2])
    monitor = DataframeMonitor(df)
    assert monitor.df.index.to_list() == [1.0, 2.0]
    assert list(monitor.df.columns) == ["loss", "lr/head", "3"]
    assert monitor.df["lr/head"].to_list() == [1, 2]


def test_metadata_are_the_callers_or_tell_when_it_was_made():
    assert DataframeMonitor().metadata["created_at"] <= datetime.now(UTC)
    given = {"model": "resnet"}
    monitor = DataframeMonitor(metadata=given)
    monitor.metadata["more"] = 1
    assert monitor.metadata == {"model": "resnet", "more": 1}
    assert given == {"model": "resnet"}


# -- a file -------------------------------------------------------------------------------------


def test_what_was_saved_comes_back(tmp_path):
    monitor = trained(30, metadata={"model": "resnet", "sizes": [1, 2]})
    monitor.metadata["made"] = datetime(2026, 1, 2, tzinfo=UTC)
    monitor.write({"training_loss": math.nan, "note": None, "n": 3, "text": "x"}, 31)
    monitor.save(tmp_path / "run.db")
    loaded = DataframeMonitor.from_file(tmp_path / "run.db")
    pd.testing.assert_frame_equal(loaded.df, monitor.df)
    assert loaded.metadata == monitor.metadata


def test_a_loaded_monitor_continues_its_steps(tmp_path):
    trained(30).save(tmp_path / "run.db")
    for session in (True, False):
        loaded = DataframeMonitor.from_file(str(tmp_path / "run.db"))
        if session:
            loaded.start_session(2)
        loaded.write({"training_loss": 1.0}, 0.5)
        loaded.write({"training_loss": 1.0}, 1)
        assert loaded.df.index.to_list()[-3:] == [30, 30.5, 31]


def test_it_is_a_log_like_any_other(tmp_path):
    monitor = trained(30, metadata={"model": "resnet"})
    uuid = monitor.save(tmp_path / "run.db")
    with SQLiteLog(tmp_path / "run.db", uuid, readonly=True) as log:
        assert log.status["metadata"] == {"model": "resnet"}
        assert log.status["name"] == "dataframe_monitor"
        assert log[30]["step"] == 30
        assert len(log) == 30
    with closing(sqlite3.connect(tmp_path / "run.db")) as connection:
        status = connection.execute("SELECT count(*) FROM runs").fetchone()
    assert status == (1,)


def test_a_file_holds_many_and_gives_the_newest(tmp_path):
    path = tmp_path / "runs.db"
    first, second = (trained(steps).save(path) for steps in (3, 5))
    assert len(DataframeMonitor.from_file(path).df) == 5
    assert len(DataframeMonitor.from_file(path, first).df) == 3
    assert len(DataframeMonitor.from_file(path, second.hex).df) == 5


def test_an_empty_monitor_is_saved_too(tmp_path):
    DataframeMonitor(metadata={"a": 1}).save(tmp_path / "run.db")
    loaded = DataframeMonitor.from_file(tmp_path / "run.db", name="other")
    assert len(loaded.df) == 0
    assert loaded.metadata == {"a": 1}
    assert loaded.name == "other"


def test_what_a_log_monitor_wrote_can_be_looked_at(tmp_path):
    with SQLiteLog(tmp_path / "runs.db") as log:
        monitor = LogMonitor(log)
        for step in range(1, 6):
            monitor.write({"training_loss": 1 / step}, step)
    loaded = DataframeMonitor.from_file(tmp_path / "runs.db")
    assert loaded.df["training_loss"].to_list() == [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]
    assert loaded.metadata == {}


def test_loading_changes_nothing(tmp_path):
    trained(3).save(tmp_path / "run.db")
    before = (tmp_path / "run.db").read_bytes()
    DataframeMonitor.from_file(tmp_path / "run.db")
    assert (tmp_path / "run.db").read_bytes() == before


def test_files_that_cannot_be_meant_are_refused(tmp_path):
    with pytest.raises(StoreNotFound):
        DataframeMonitor.from_file(tmp_path / "none.db")
    assert not (tmp_path / "none.db").exists()
    (tmp_path / "other.db").write_text("mine, and no database")
    with pytest.raises(NotATrainingLog):
        DataframeMonitor.from_file(tmp_path / "other.db")
    with pytest.raises(NotATrainingLog):
        trained(3).save(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_text() == "mine, and no database"
    with SQLiteLog(tmp_path / "runs.db") as log:
        log[1]["loss"] = 1.0
    with pytest.raises(ValueError, match="was not written by a monitor"):
        DataframeMonitor.from_file(tmp_path / "runs.db")
    with pytest.raises(RunNotFound):
        DataframeMonitor.from_file(tmp_path / "runs.db", "0" * 32)


# -- pictures -----------------------------------------------------------------------------------


def labels(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def lines(axes):
    return [line for line in axes.get_lines() if len(line.get_xdata())]


def test_a_metric_is_drawn_raw_and_faint_and_smoothed_and_strong():
    monitor = trained(200)
    top, *_ = monitor.plot().axes
    raw, smooth, *_ = lines(top)
    assert raw.get_alpha() == 0.35
    assert smooth.get_linewidth() > raw.get_linewidth()
    assert np.array_equal(raw.get_ydata(), monitor.df["training_loss"].iloc[20:])
    assert np.std(smooth.get_ydata()[-100:]) < np.std(raw.get_ydata()[-100:])
    assert labels(top) == ["training loss", "validation loss"]


def test_a_metric_that_is_measured_seldom_is_not_drawn_late():
    """Smoothing goes over steps, not over values."""
    monitor = trained(200)
    *_, raw, smooth = lines(monitor.plot(smooth_window=9).axes[0])
    assert len(raw.get_xdata()) == 18
    assert np.array_equal(raw.get_ydata(), smooth.get_ydata())


def test_the_smoothed_line_does_not_lag_behind():
    monitor = DataframeMonitor()
    for step in range(1, 101):
        monitor.write({"loss": 2.0 * step}, step)
    raw, smooth = lines(monitor.plot(skip_first=0, smooth_window=9).axes[0])
    assert smooth.get_ydata()[4:-4] == pytest.approx(raw.get_ydata()[4:-4])


def test_a_row_stands_below_for_each_hyperparameter():
    figure = trained(200).plot(hyperparameters=["learning_rate", "body/learning_rate"])
    top, both, body = figure.axes
    assert (top.get_ylabel(), both.get_ylabel()) == ("loss", "learning rate")
    assert labels(both) == ["groups/body", "groups/head"]
    assert len(lines(body)) == 1
    assert body.get_xlabel() == "step"


def test_the_learning_rate_is_drawn_if_there_is_one():
    assert len(trained(200).plot().axes) == 2
    assert len(trained(200).plot(hyperparameters=[]).axes) == 1
    monitor = DataframeMonitor()
    monitor.write({"loss": 1.0}, 1)
    assert len(monitor.plot().axes) == 1


def test_hyperparameters_may_have_a_style():
    figure = trained(200).plot(hyperparameters={"head/learning_rate": {"color": "black"}})
    assert [line.get_color() for line in lines(figure.axes[1])] == ["black"]


def test_a_second_metric_has_an_axis_of_its_own():
    figure = trained(200).plot(metrics=["loss", "accuracy"], hyperparameters=[])
    left, right = figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("loss", "accuracy")
    assert right.get_shared_x_axes().joined(left, right)
    assert labels(left) == ["training loss", "validation loss", "training accuracy"]
    with pytest.raises(ValueError, match="one metric or two"):
        trained(3).plot(metrics=["loss", "accuracy", "f1"])


def test_the_beginning_is_skipped_but_never_all_of_a_short_run():
    first = {}
    for steps in (3, 200, 5000):
        first[steps] = lines(trained(steps).plot().axes[0])[0].get_xdata()[0]
    assert first == {3: 1, 200: 21, 5000: 101}
    assert lines(trained(3).plot(skip_first=2).axes[0])[0].get_xdata()[0] == 3
    with pytest.raises(ValueError, match="of 3 rows the first 100 are skipped"):
        trained(3).plot(skip_first=100)


def test_a_short_run_is_not_smoothed_flat():
    raw, smooth, *_ = lines(trained(10).plot().axes[0])
    assert np.array_equal(raw.get_ydata(), smooth.get_ydata())


def test_what_is_not_there_is_named_with_what_is():
    with pytest.raises(
        KeyError, match=r"'f1' or ends with it; there are: 'timestamp', 'training_lo"
    ):
        trained(3).plot(metrics="f1")
    with pytest.raises(KeyError, match="'momentum'"):
        trained(3).plot(hyperparameters=["momentum"])
    with pytest.raises(KeyError, match="there are: none yet"):
        DataframeMonitor().plot()
    with pytest.raises(ValueError, match="smooth_window is at least 1"):
        trained(3).plot(smooth_window=0)


def test_a_figure_and_its_title_may_be_given(tmp_path):
    from matplotlib.figure import Figure

    mine = Figure(figsize=(4, 3))
    assert trained(50).plot(title="run $x_1", fig=mine) is mine
    assert mine.get_suptitle() == "run $x_1"
    mine.savefig(tmp_path / "plot.png")
    other = trained(50).plot(figsize=(3, 2))
    assert tuple(other.get_size_inches()) == (3, 2)
    assert other._repr_png_().startswith(b"\x89PNG")


def test_nan_and_texts_do_not_break_a_plot(tmp_path):
    monitor = DataframeMonitor()
    for step in range(1, 100):
        monitor.write({"training_loss": math.nan if step % 7 else 1.0, "$note_": "x"}, step)
    monitor.plot().savefig(tmp_path / "plot.png")


def survey():
    monitor = DataframeMonitor()
    for step in range(1, 101):
        rate = 10 ** (-6 + step / 20)
        monitor.write({"training_loss": 4.0 / step}, step - 0.5)
        monitor.write({"training_loss": 2.0 / step, "learning_rate": rate}, step)
    return monitor


def test_a_survey_is_the_mean_loss_over_the_learning_rate():
    axes = survey().plot_learning_rate_survey(color="black")
    (line,) = axes.get_lines()
    assert line.get_color() == "black"
    assert line.get_xdata() == pytest.approx([10 ** (-6 + step / 20) for step in range(1, 101)])
    assert line.get_ydata() == pytest.approx([3.0 / step for step in range(1, 101)])
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("learning rate", "training loss")


def test_a_survey_is_drawn_into_given_axes(tmp_path):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert survey().plot_learning_rate_survey(axes) is axes
    axes.figure.savefig(tmp_path / "survey.png")


def test_a_survey_needs_one_learning_rate():
    monitor = DataframeMonitor()
    monitor.write({"training_loss": 1.0}, 1)
    with pytest.raises(KeyError, match="'learning_rate'"):
        monitor.plot_learning_rate_survey()
    with pytest.raises(KeyError, match="name one of them"):
        trained(3).plot_learning_rate_survey()
    trained(3).plot_learning_rate_survey(learning_rate="head/learning_rate")
    with pytest.raises(KeyError, match="'loss'"):
        survey().plot_learning_rate_survey(metric="loss")


def test_a_plot_without_matplotlib_names_the_extra(monkeypatch):
    monitor = trained(3)
    for name in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "traininglog.monitors.pictures", raising=False)
    monkeypatch.delattr("traininglog.monitors.pictures", raising=False)
    for draw in (monitor.plot, monitor.plot_learning_rate_survey):
        with pytest.raises(MissingExtra, match=r'pip install "traininglog\[plot\]"'):
            draw()


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trained(50).plot()
    assert dict(matplotlib.rcParams) == before
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )
