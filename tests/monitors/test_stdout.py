"""A bar on a terminal and in a notebook, plain lines elsewhere."""

import io
import math
import os
import re
import subprocess
import sys

import notebooks
import pexpect
import pytest
from patience import GUARD

from traininglog import TrainingLogWarning
from traininglog.display import fitting
from traininglog.monitors import StdoutMonitor
from traininglog.monitors.session_display import SessionLines, Stand

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"

TRAINING = """
import sys, time
from traininglog.monitors import StdoutMonitor
monitor = StdoutMonitor({"training_loss": "loss", "validation_loss": "val", "never": "never"})
def train():
    for step in range(1, 31):
        data = {"training_loss": 1.0, "other": 2.0}
        if step == 20:
            data["validation_loss"] = 0.25
        monitor.write(data, step)
        time.sleep(0.02)
        if step == 10:
            print("said by print")
        if step == 15 and "leave" in sys.argv:
            sys.exit(3)
        if step == 15 and "inner" in sys.argv:
            inner = StdoutMonitor(["accuracy"])
            with inner.session(4):
                for part in range(1, 5):
                    inner.write({"accuracy": 0.5}, part)
if "leave" in sys.argv:
    monitor.start_session(30)
    train()
else:
    with monitor.session(None if "endless" in sys.argv else 30):
        train()
"""


def on_terminal(*arguments, columns=100, term="xterm-256color"):
    """Return what a training writes to a terminal, and its exit status."""
    child = pexpect.spawn(
        sys.executable, ["-W", "error", "-c", TRAINING, *arguments],
        encoding="utf-8", timeout=GUARD, dimensions=(24, columns), env=os.environ | {"TERM": term},
    )  # fmt: skip
    child.expect(pexpect.EOF)
    child.close()
    return child.before, child.exitstatus


def plain(text):
    """Return the lines of a terminal's output without its colours; each redrawing is a line."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    return [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]


# -- on a terminal ------------------------------------------------------------------------------


def test_a_terminal_has_a_bar_that_is_drawn_anew():
    text, status = on_terminal()
    lines = plain(text)
    assert status == 0
    bars = [line for line in lines if line.startswith("━")]
    assert len(bars) > 4
    assert any(re.search(r" \d+/30  loss 1  .*steps/s  .* left$", bar) for bar in bars)
    assert re.search(r"━{20} 30/30  loss 1  val 0.25  [\d.]+ steps/s  in [\d.]+ s$", bars[-1])
    assert "never" not in text
    assert text.count(HIDE) == text.count(SHOW) == 1


def test_what_is_printed_stands_above_the_bar():
    text, _ = on_terminal()
    lines = plain(text)
    assert lines.count("said by print") == 1
    at = lines.index("said by print")
    assert lines[at - 1].startswith("━")
    assert lines[at + 1].startswith("━")


def test_metrics_are_shown_once_they_were_there():
    bars = [line for line in plain(on_terminal()[0]) if line.startswith("━")]
    shown = ["val 0.25" in bar for bar in bars]
    assert shown == sorted(shown)
    assert not shown[0]
    assert shown[-1]


@pytest.mark.parametrize("columns", [20, 40, 60])
def test_a_narrow_terminal_keeps_one_line(columns):
    text, status = on_terminal(columns=columns)
    assert status == 0
    assert max(map(len, plain(text))) <= columns


def test_without_an_end_in_sight_it_counts():
    bars = plain(on_terminal("endless")[0])
    assert re.search(r" 30  loss 1  val 0.25  [\d.]+ steps/s  in [\d.]+ s$", bars[-1])
    assert not any("left" in bar for bar in bars)


def test_the_terminal_is_left_in_order_by_a_program_that_never_ends_its_session():
    text, status = on_terminal("leave")
    assert status == 3
    assert text.rindex(SHOW) > text.rindex(HIDE)


def test_a_session_within_a_session_prints_above_its_bar():
    text, status = on_terminal("inner")
    assert status == 0
    lines = plain(text)
    assert any(re.match(r"step 4/4  100%  accuracy 0.5 ", line) for line in lines)
    assert lines[-1].startswith("━" * 20 + " 30/30")


def test_a_dumb_terminal_has_plain_lines():
    text, status = on_terminal(term="dumb")
    assert status == 0
    assert "\x1b" not in text
    assert plain(text)[-1].startswith("step 30/30  100%  loss 1  val 0.25 ")


# -- in a notebook ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_notebook_has_one_line_that_is_written_over(tmp_path, monkeypatch):
    for name in notebooks.FOLDERS:
        monkeypatch.setenv(name, str(tmp_path))
    outputs = notebooks.outputs(TRAINING.replace("sys.argv", "()"), "sys.stdout.isatty()")
    shown = [output for output in outputs if output.output_type == "display_data"]
    said = [output.text for output in outputs if output.output_type == "stream"]
    (line,) = [output.data["text/plain"] for output in shown]
    assert re.match(r"━{20}  30/30  loss 1  val 0.25  [\d.]+ steps/s  in [\d.]+ s$", line)
    assert "".join(said) == "said by print\n"


# -- elsewhere ----------------------------------------------------------------------------------


def test_a_pipe_has_plain_lines():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TRAINING], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert lines.count("said by print") == 1
    steps = [line for line in lines if line != "said by print"]
    assert 2 <= len(steps) <= 22
    numbers = [int(re.match(r"step (\d+)/30  \d+%  loss 1  ", line)[1]) for line in steps]
    assert numbers == sorted(set(numbers))
    assert re.match(r"step 30/30  100%  loss 1  val 0.25  .* steps/s  in [\d.]+ s$", steps[-1])


def test_a_long_session_has_about_twenty_lines():
    file = io.StringIO()
    lines = SessionLines(file)
    for step in range(1001):
        lines.show(Stand(1000, step, elapsed=step / 100, rate=100.0))
    lines.show(Stand(1000, 1000, elapsed=10.0, rate=100.0, over=True))
    shown = file.getvalue().splitlines()
    assert len(shown) == 21
    assert shown[0] == "step 1/1,000  0%  100 steps/s  10 s left"
    assert shown[10] == "step 500/1,000  50%  100 steps/s  5.0 s left"
    assert shown[-1] == "step 1,000/1,000  100%  100 steps/s  in 10 s"


def test_a_slow_session_has_a_line_a_minute():
    file = io.StringIO()
    lines = SessionLines(file)
    for step in range(100):
        lines.show(Stand(1_000_000, step, elapsed=step * 10.0, rate=0.1))
    assert len(file.getvalue().splitlines()) == pytest.approx(17, abs=1)


def test_a_file_that_lacks_a_letter_has_it_spelled_out():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii")
    monitor = StdoutMonitor({"loss": "потеря"}, file=file)
    with monitor.session(1):
        monitor.write({"loss": 1.0}, 1)
    assert raw.getvalue().startswith(rb"step 1/1  100%  \u043f\u043e\u0442\u0435\u0440\u044f 1 ")


# -- what is shown ------------------------------------------------------------------------------


def session(writes, num_steps=10, **options):
    """Return the last line of a session with some writes of (data, step)."""
    file = io.StringIO()
    monitor = StdoutMonitor(**{"metric_names": {"loss": "loss", "lr": "lr"}} | options, file=file)
    with monitor.session(num_steps):
        for data, step in writes:
            monitor.write(data, step)
    return file.getvalue().splitlines()[-1]


def test_parts_of_a_step_do_not_move_it_and_count_for_the_metrics():
    line = session([({"loss": 1.0}, 1), ({"loss": 2.0}, 1.5), ({"loss": 3.0}, 1.75)], alpha=1)
    assert line.startswith("step 1/10  10%  loss 3 ")
    assert session([({}, 1), ({}, 3.5)]).startswith("step 1/10 ")
    assert session([({}, 2.0)]).startswith("step 2/10 ")


def test_the_bar_stands_at_the_step_also_when_not_every_step_is_written():
    assert session([({"loss": 1.0}, 5)]).startswith("step 5/10  50%  loss 1 ")


def test_more_steps_than_announced_are_no_failure():
    assert session([({}, 12)]).startswith("step 12/10  100%")


def test_values_are_smoothed_from_the_first_on():
    assert session([({"loss": 8.0}, 1)]).startswith("step 1/10  10%  loss 8 ")
    line = session([({"loss": 8.0}, 1), ({"loss": 4.0}, 2)], alpha=0.5)
    # the newest has half the weight of the whole mean, the one before half of that
    assert line.startswith(f"step 2/10  20%  loss {(8 * 0.25 + 4 * 0.5) / 0.75:.4g} ")


def test_raw_values_are_shown_as_they_are():
    line = session([({"lr": 8.0}, 1), ({"lr": 4.0}, 2)], raw=["lr"])
    assert line.startswith("step 2/10  20%  lr 4 ")


def test_a_nan_is_shown_and_forgotten():
    assert "loss nan" in session([({"loss": 8.0}, 1), ({"loss": math.nan}, 2)])
    assert "loss 8 " in session([({"loss": 8.0}, 1), ({"loss": math.nan}, 2), ({"loss": 8.0}, 3)])


def test_tensors_and_nested_metrics_are_shown_and_texts_are_not():
    import numpy as np

    names = {"model/loss": "loss", "note": "note"}
    data = {"model": {"loss": np.array([1.0, 3.0])}, "note": "warm"}
    line = session([(data, 1)], metric_names=names)
    assert line.startswith("step 1/10  10%  loss 2 ")
    assert "note" not in line


def test_keys_alone_will_do_as_names():
    assert "loss 1 " in session([({"loss": 1.0}, 1)], metric_names=["loss"])


def test_no_steps_at_all():
    assert session([], num_steps=0) == "step 0/0  100%  in 0.0 s"


# -- order --------------------------------------------------------------------------------------


def test_writing_before_the_session_is_an_error():
    monitor = StdoutMonitor(["loss"], file=io.StringIO())
    with pytest.raises(RuntimeError, match=r"start_session\(num_steps\) comes before write\(\)"):
        monitor.write({"loss": 1.0}, 1)
    with monitor.session(1):
        pass
    with pytest.raises(RuntimeError, match="none is open"):
        monitor.write({"loss": 1.0}, 1)


def test_ending_what_did_not_begin_does_nothing():
    file = io.StringIO()
    StdoutMonitor(["loss"], file=file).end_session()
    assert file.getvalue() == ""


def test_a_second_session_begins_anew():
    file = io.StringIO()
    monitor = StdoutMonitor(["loss"], file=file)
    monitor.start_session(2)
    monitor.write({"loss": 1.0}, 2)
    monitor.start_session(4)  # ends the first
    monitor.end_session()
    first, second = file.getvalue().splitlines()
    assert first.startswith("step 2/2  100%  loss 1 ")
    assert second == "step 0/4  0%  in 0.0 s"


@pytest.mark.parametrize("num_steps", [-1, 2.5, True, math.nan, math.inf])
def test_a_number_of_steps_that_is_none_is_refused(num_steps):
    with pytest.raises(ValueError, match="num_steps is a whole number"):
        StdoutMonitor(["loss"], file=io.StringIO()).start_session(num_steps)


def test_misuse_is_refused_when_the_monitor_is_made():
    with pytest.raises(TypeError, match="not a text"):
        StdoutMonitor("loss")
    for alpha in (0, -1, 1.5):
        with pytest.raises(ValueError, match="alpha is above 0"):
            StdoutMonitor(["loss"], alpha=alpha)


def test_between_two_looks_nothing_is_written():
    class Counting(io.StringIO):
        writes = 0

        def write(self, text):
            self.writes += 1
            return super().write(text)

    file = Counting()
    monitor = StdoutMonitor(["loss"], file=file, interval=3600)
    with monitor.session(100_000):
        for step in range(1, 1001):
            monitor.write({"loss": 1.0}, step)
        assert file.writes == 0
    assert file.writes == 1


# -- an output that fails -----------------------------------------------------------------------

LONG = """
from traininglog.monitors import StdoutMonitor
monitor = StdoutMonitor({"loss": "loss" * 300}, interval=0)
with monitor.session(200):
    for step in range(1, 201):
        monitor.write({"loss": 1.0}, step)
open("ended", "w").close()
"""


def test_a_reader_that_is_gone_ends_no_training(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", LONG], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    process.stdout.close()
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(GUARD) == 0, told
    assert (tmp_path / "ended").exists()
    assert told.count("cannot show the progress, and the training goes on") == 1, told


def test_a_file_that_was_closed_ends_no_training():
    file = io.StringIO()
    monitor = StdoutMonitor(["loss"], file=file, interval=0)

    def train():
        with monitor.session(9):
            file.close()
            for step in range(1, 10):
                monitor.write({"loss": 1.0}, step)

    with pytest.warns(TrainingLogWarning, match="cannot show the progress") as told:
        train()
    assert len(told) == 1


# -- what fits ----------------------------------------------------------------------------------


def narrow(width, metrics, step=30, **options):
    """Return the line at a width, as it is drawn."""
    options = {"num_steps": 60, "step": step, "elapsed": 1.1, "rate": 26.4} | options
    found = Stand(metrics=metrics, **options).fitted(width, "utf-8")
    count, rate, time = found.pieces
    words = [count, found.metrics, rate, time]
    return "=" * found.bar + " " * bool(found.bar) + "  ".join(filter(None, words))


LONG_NAME = "validation/mean_absolute_percentage_error_of_the_first_head"


def test_a_wide_terminal_shows_everything():
    assert narrow(140, [("loss", 0.09172), (LONG_NAME, 0.5)]) == (
        f"{'=' * 20} 30/60  loss 0.09172  {LONG_NAME} 0.5  26.4 steps/s  1.1 s left"
    )


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (80, "=" * 10 + " 30/60  loss 0.09172  validati…st_head 0.5  26.4 steps/s  1.1 s left"),
        (60, "=" * 6 + " 30/60  loss 0.09172  vali…ead 0.5  26/s  1.1 s left"),
        (40, "=" * 6 + " 30/60  loss 0.09172  26/s  1.1 s"),
        (30, "=" * 6 + " 30/60  26/s  1.1 s left"),
        (20, "=" * 6 + " 30/60  1.1 s"),
    ],
)
def test_on_a_narrow_one_bar_rate_and_time_stay_longest(width, line):
    shown = narrow(width, [("loss", 0.09172), (LONG_NAME, 0.5)])
    assert len(shown) <= width
    assert shown == line


@pytest.mark.parametrize("width", [*range(10, 40), 60, 80, 100, 200])
@pytest.mark.parametrize("count", [0, 1, 3, 200])
@pytest.mark.parametrize("name", ["loss", LONG_NAME, "火" * 20, "e\N{COMBINING ACUTE ACCENT}" * 9])
def test_whatever_is_shown_fits(width, count, name):
    metrics = [(f"{name}_{number}", 10.0**-number) for number in range(count)]
    found = Stand(num_steps=10**6, step=1, rate=0.5, metrics=metrics).fitted(width, "utf-8")
    assert fitting.length(found) <= width or not (found.bar or found.metrics)
    if width >= 60:
        assert found.bar
        assert all(found.pieces)
        assert bool(found.metrics) == bool(count)


def test_metrics_that_are_left_out_are_counted():
    shown = narrow(100, [(f"metric_{number}", 0.5) for number in range(200)])
    assert re.search(r"metric_2 0.5  \+197  26", shown)


class Terminal(io.StringIO):
    """A terminal on which one can read what was drawn."""

    def isatty(self):
        return True


def test_a_bar_leaves_what_goes_to_a_file_alone(monkeypatch):
    """A bar on stderr takes only what would appear on a terminal above itself."""
    output = io.StringIO()
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.setenv("TERM", "xterm")
    monitor = StdoutMonitor(["loss"], file=Terminal())
    with monitor.session(2):
        print("to a file")
        assert output.getvalue() == "to a file\n"


def test_a_bar_on_a_terminal_that_is_gone_does_not_end_the_program(monkeypatch):
    """Rich would end it."""

    class Gone(Terminal):
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setenv("TERM", "xterm")
    monitor = StdoutMonitor(["loss"], file=Gone())
    with pytest.warns(TrainingLogWarning, match="Broken pipe"):
        monitor.start_session(2)
    monitor.write({"loss": 1.0}, 1)
    monitor.write({"loss": 1.0}, 2)
    monitor.end_session()
