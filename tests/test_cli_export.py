"""`export` and `plot`: files that are complete, exact and safe to open."""

import contextlib
import csv
import io
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import run, uuids

import traininglog
from traininglog import SQLiteLog, Store
from traininglog.plots.curves import segments, thinned, within_float
from traininglog.sqlite.runs.plotted import curves_of

NAN = float("nan")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A store of three runs: one with every kind of value, one resumed, and one of formulas."""
    path = tmp_path / "runs.db"
    with SQLiteLog(path) as log:
        log.status["name"] = "first"
        for time in range(1, 21):
            log[time]["loss"] = math.exp(-time / 7)
            log[time]["step"] = time
        log[20].update(none=None, nan=NAN, inf=float("-inf"), flag=True, text="NaN", raw=b"\xff")
        log[20].update(big=2**62 + 1, list=[1, NAN], when=datetime(2026, 1, 2), path=Path("/x"))
        log[19]["none"] = 0.5
        uuid = log.uuid
    with SQLiteLog(path, uuid=uuid, resume=True, at=10) as log:
        for time in range(11, 16):
            log[time]["loss"] = NAN if time == 13 else 1.5
    with SQLiteLog(path) as log:
        log[1].update({"=1+1": "=cmd()", "-key": -1.5, "tab": "\tx", "at": "@x", "cr": "\rx"})
        log[1].update({"+": "+1", "ok": "a=b", "list": [-1]})
    monkeypatch.setenv("TRAININGLOG_STORE", str(path))
    monkeypatch.chdir(tmp_path)
    return path


def table(text):
    """Parse CSV with a reader that is not ours."""
    return list(csv.reader(io.StringIO(text, newline="")))


def lines(text):
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


# -- export ---------------------------------------------------------------------------------


def test_csv_of_one_run_is_a_line_a_row_with_exact_floats(path):
    rows = table(run("export", uuids(path)[0]).stdout)
    header, last = rows[0], dict(zip(rows[0], rows[-1], strict=True))
    assert header[:3] == ["time", "loss", "step"]
    assert [float(row[1]) for row in rows[1:]] == [math.exp(-time / 7) for time in range(1, 21)]
    assert last == {
        "time": "20", "loss": repr(math.exp(-20 / 7)), "step": "20", "none": "None", "nan": "NaN",
        "inf": "-inf", "flag": "True", "text": "NaN", "raw": "/w==", "big": str(2**62 + 1),
        "list": '[1, "NaN"]', "when": "2026-01-02T00:00:00", "path": "/x",
    }  # fmt: skip
    assert rows[1][3:] == [""] * 10  # absent is empty


def test_csv_of_several_runs_is_a_line_a_value_with_a_run_column(path):
    first, second, _ = uuids(path)
    rows = table(run("export", *uuids(path), "-k", "loss", "-k", "no*").stdout)
    assert rows[0] == ["run", "time", "key", "value", "type", "own"]
    counts = [sum(row[0] == uuid for row in rows) for uuid in uuids(path)]
    assert counts == [22, 15, 0]
    assert [first, "20", "none", "None", "none", "True"] in rows
    assert [second, "13", "loss", "NaN", "float", "True"] in rows
    own = [row for row in rows[1:] if row[-1] == "True"]
    assert [sum(row[0] == uuid for row in own) for uuid in (first, second)] == [22, 5]


def test_all_exports_each_experiment_once(path):
    _, second, third = uuids(path)
    rows = table(run("export", "--all", "-k", "loss", "-k", "t*").stdout)
    assert {row[0] for row in rows[1:]} == {second, third}
    assert {row[-1] for row in rows[1:]} == {"True"}


def test_layouts_ranges_and_globs_can_be_chosen(path):
    first, second, _ = uuids(path)
    text = run("export", first, "--layout", "long", "--start", 5, "--stop", 7, "-k", "[ls]*").stdout
    assert [row[:2] for row in table(text)[1:]] == [
        ["5", "loss"], ["6", "loss"], ["5", "step"], ["6", "step"],
    ]  # fmt: skip
    text = run("export", first, second, "--layout", "wide", "-k", "loss", "--start", 15).stdout
    assert [row[:2] for row in table(text)] == [
        ["run", "time"], *([first, str(time)] for time in range(15, 21)), [second, "15"],
    ]  # fmt: skip


def test_a_spreadsheet_runs_nothing(path):
    header, row = table(run("export", uuids(path)[2]).stdout)
    assert dict(zip(header, row, strict=True)) == {
        "time": "1", "'=1+1": "'=cmd()", "'-key": "-1.5", "tab": "'\tx", "at": "'@x",
        "cr": "'\rx", "'+": "'+1", "ok": "a=b", "list": "[-1]",
    }  # fmt: skip
    long = table(run("export", uuids(path)[2], "--layout", "long").stdout)
    assert ["1", "'=1+1", "'=cmd()", "text"] in long
    verbatim = lines(run("export", uuids(path)[2], "--format", "jsonl").stdout)
    assert verbatim[0]["row"]["=1+1"] == "=cmd()"


def test_json_lines_are_strict_and_tell_everything_apart(path):
    first = uuids(path)[0]
    wide = lines(run("export", first, "--format", "jsonl").stdout)
    assert wide[0] == {"time": 1, "row": {"loss": math.exp(-1 / 7), "step": 1}}
    assert wide[-1]["row"]["none"] is None
    assert wide[-1]["row"]["big"] == 2**62 + 1
    long = lines(run("export", first, "--format", "jsonl", "--layout", "long").stdout)
    found = {line["key"]: (line["value"], line["type"]) for line in long if line["time"] == 20}
    assert found["none"] == (None, "none")
    assert found["nan"] == ("NaN", "float")
    assert found["text"] == ("NaN", "text")
    assert found["inf"] == ("-Infinity", "float")
    assert found["raw"] == ("/w==", "bytes")
    assert found["list"] == ([1, "NaN"], "json")
    assert found["flag"] == (True, "bool")
    assert [line["run"] for line in lines(run("export", "-a", "--format", "jsonl").stdout)]


def test_parquet_of_many_runs(path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run("export", *uuids(path), "-o", "all.parquet")
    found = parquet.read_table("all.parquet").to_pylist()
    assert list(found[0]) == ["run", "time", "key", "value", "text", "type", "own"]
    last = {
        line["key"]: (line["value"], line["text"], line["type"])
        for line in found
        if line["time"] == 20
    }
    assert math.isnan(last["nan"][0])  # a NaN is a NaN, and a None is null
    assert last["none"] == (None, None, "none")
    assert last["text"] == (None, "NaN", "text")
    assert last["big"] == (float(2**62 + 1), str(2**62 + 1), "int")
    assert last["list"] == (None, '[1, "NaN"]', "json")
    assert last["loss"] == (math.exp(-20 / 7), None, "float")


def test_parquet_of_one_run_has_a_column_per_key(path):
    parquet = pytest.importorskip("pyarrow.parquet")
    run("export", uuids(path)[0], "-o", "one.parquet")
    found = parquet.read_table("one.parquet")
    types = {field.name: str(field.type) for field in found.schema}
    assert (types["loss"], types["step"], types["flag"]) == ("double", "int64", "bool")
    assert (types["list"], types["big"]) == ("string", "int64")
    assert found["big"].to_pylist()[-1] == 2**62 + 1
    assert found["step"].null_count == 0
    assert found["nan"].null_count == 19


def test_parquet_holds_what_a_table_in_memory_does(path):
    parquet = pytest.importorskip("pyarrow.parquet")
    first, second, _ = uuids(path)
    with Store(path) as store:
        for words, log_of, arguments in (
            ([first], first, {}),
            ([second, "--start", 5, "--stop", 14, "-k", "l*"], second,
             {"keys": "l*", "start": 5, "stop": 14}),
            ([first, "--layout", "long"], first, {"layout": "long"}),
        ):  # fmt: skip
            run("export", *words, "-o", "x.parquet", "--force")
            with store.log(log_of, readonly=True) as log:
                expected = log.to_arrow(**arguments)
            found = parquet.read_table("x.parquet")
            assert found.schema.equals(expected.schema)
            assert repr(found.to_pylist()) == repr(expected.to_pylist())
        run("export", first, second, "--layout", "wide", "-o", "x.parquet", "--force")
        found, expected = (
            parquet.read_table("x.parquet"),
            store.to_arrow([first, second], layout="wide"),
        )
        assert repr(found.to_pylist()) == repr(expected.to_pylist())


def test_parquet_of_a_run_without_rows_and_of_keys_without_values(path):
    parquet = pytest.importorskip("pyarrow.parquet")
    SQLiteLog(path).close()
    for layout, names in (
        ("wide", ["time"]), ("long", ["time", "key", "value", "text", "type"]),
    ):  # fmt: skip
        run("export", "-o", "x.parquet", "--layout", layout, "--force")
        found = parquet.read_table("x.parquet")
        assert (found.column_names, len(found)) == (names, 0)
    run("export", uuids(path)[0], "-k", "none", "-k", "loss", "--stop", 5, "-o", "y.parquet")
    assert parquet.read_table("y.parquet").column_names == ["time", "loss"]


def test_a_key_that_is_called_like_a_column_keeps_its_name(path):
    """In every format and layout: the column of ours gives way."""
    names = ["time", "run", "key", "value", "text", "type", "index", "wall", "log.time"]
    with SQLiteLog(path) as log:
        log[1].update({name: place for place, name in enumerate(names)})
        uuid = log.h_uuid
    header, line = table(run("export", uuid).stdout)
    assert header == ["log.log.time", *names]
    assert line == ["1", *map(str, range(len(names)))]
    header, *lines = table(run("export", uuid, uuids(path)[0], "--layout", "wide").stdout)
    assert len(set(header)) == len(header)
    assert header[:2] == ["log.run", "log.log.time"]
    assert dict(zip(header, lines[0], strict=True))["run"] == "1"
    assert table(run("export", uuid, "--layout", "long").stdout)[1] == ["1", "time", "0", "int"]
    (found,) = map(json.loads, run("export", uuid, "--format", "jsonl").stdout.splitlines())
    assert found == {"time": 1, "row": {name: place for place, name in enumerate(names)}}
    assert "log.time" in run("tail", uuid, "--keys", "time").stdout
    parquet = pytest.importorskip("pyarrow.parquet")
    for runs, ours in (([uuid], ["log.log.time"]), ([uuid, uuids(path)[0]], ["log.run"])):
        run("export", *runs, "--layout", "wide", "-o", "x.parquet", "--force")
        found = parquet.read_table("x.parquet")
        assert len(set(found.column_names)) == len(found.column_names)
        assert found.column_names[: len(ours)] == ours
        assert [int(found[name][0].as_py()) for name in names] == list(range(len(names)))
        with Store(path) as store:
            assert store.to_arrow(runs, layout="wide").column_names == (
                found.column_names if len(runs) > 1 else ["log.run", *found.column_names]
            )
            frame = store.to_dataframe(runs, layout="wide").reset_index()
        assert len(set(frame.columns)) == len(frame.columns)
        assert [int(frame[name][0]) for name in names] == list(range(len(names)))


def test_an_output_file_is_never_overwritten_unless_told_to(path, tmp_path):
    target = tmp_path / "out.csv"
    target.write_text("precious")
    assert "--force" in run("export", "-o", target, status=1).stderr
    assert target.read_text() == "precious"
    run("export", "-o", target, "--force")
    assert target.read_text().startswith("time,")


def test_a_failed_export_leaves_nothing_behind(path, tmp_path, monkeypatch):
    target = tmp_path / "out.csv"
    target.write_text("precious")
    before = [file for file in sorted(tmp_path.iterdir()) if "runs.db" not in file.name]
    run("export", "-o", target, "--force", "-k", "nope", status=1)
    run("export", "-o", "new.csv", "-k", "nope", status=1)
    run("export", "--all", "-o", "new.csv", "-k", "nope", status=1)
    assert target.read_text() == "precious"
    assert [file for file in sorted(tmp_path.iterdir()) if "runs.db" not in file.name] == before


def test_a_link_is_written_through_and_stays_a_link(path, tmp_path):
    (tmp_path / "real.csv").write_text("old")
    (tmp_path / "link.csv").symlink_to("real.csv")
    run("export", "-o", "link.csv", "--force")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().startswith("time,")


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "out.txt"],
        ["-o", "missing/out.csv"],
        ["-o", "."],
        ["--format", "xls"],
        ["--format", "parquet"],
        ["-k", "nope"],
        ["-k", "nope", "-o", "x.parquet"],
        ["--all", "-k", "nope", "-o", "x.parquet"],
        ["--start", "-1", "-o", "x.parquet"],
        ["-k", "no such*"],
        ["--start", "-1"],
        ["--all", "0"],
    ],
)
def test_export_mistakes(path, arguments):
    run("export", *arguments, status=1)


def test_export_without_pyarrow_names_the_extra(path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "traininglog.arrow", raising=False)
    monkeypatch.delattr(traininglog, "arrow", raising=False)
    assert "traininglog[parquet]" in run("export", "-o", "x.parquet", status=1).stderr


# -- plot -----------------------------------------------------------------------------------


def png_size(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", data[16:24])


def test_plot_to_a_png(path, tmp_path):
    pytest.importorskip("matplotlib")
    first, second, _ = uuids(path)
    result = run("plot", first, second, "-k", "loss", "-o", "loss.png", "--smooth", 3, "--log-y")
    assert png_size(tmp_path / "loss.png") == (1280, 736)
    assert "loss: first NaN at time 13" in result.stderr
    assert "--force" in run("plot", "-k", "loss", "-o", "loss.png", status=1).stderr


def test_plot_to_an_svg_with_a_panel_per_key(path, tmp_path):
    pytest.importorskip("matplotlib")
    run("plot", uuids(path)[0], "-o", "all.svg")
    text = (tmp_path / "all.svg").read_text()
    assert text.startswith("<?xml")
    for key in ("loss", "step", "flag", "big", "inf"):
        assert f"<!-- {key} -->" in text
    assert "<!-- list -->" not in text


def test_plot_over_another_key(path, tmp_path):
    pytest.importorskip("matplotlib")
    run("plot", uuids(path)[0], "-k", "loss", "--x", "step", "-o", "x.svg")
    assert "<!-- step -->" in (tmp_path / "x.svg").read_text()


def test_plot_over_wall_time_and_over_what_has_elapsed(path, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("plotille")
    monkeypatch.setenv("COLUMNS", "100")
    second = uuids(path)[1]
    year = str(datetime.now(UTC).year)
    for x, label, shown in (
        ("wall", "wall (UTC)", f"<!-- {year}-"), ("elapsed", "elapsed (s)", "<!-- 0."),
        ("time", "time", "<!-- 14"),
    ):  # fmt: skip
        run("plot", second, "-k", "loss", "--x", x, "-o", f"{x}.svg")
        text = (tmp_path / f"{x}.svg").read_text()
        assert f"<!-- {label} -->" in text
        assert shown in text
        assert f"({label})" in run("plot", second, "-k", "loss", "--x", x).stdout
    resumed = run("plot", second, "-k", "loss", "--x", "wall").stdout.splitlines()[-1]
    assert re.search(r"resumed at wall \(UTC\) \d\d:\d\d:\d\d$", resumed)
    with SQLiteLog(path) as log:
        for time in range(3):
            log[time].update(loss=1.0, elapsed=time * 100)
    assert "(elapsed)" in run("plot", "-k", "loss", "--x", "elapsed").stdout


def test_hostile_labels_do_no_harm_in_a_picture(path, tmp_path):
    pytest.importorskip("matplotlib")
    keys = ["_hidden", "$x^{", "\x1b[2J", "<script>", "\u202e", "漢字", "a--b"]
    with SQLiteLog(path) as log:
        log.status["name"] = "<script>$\\frac{"
        log[1].update(dict.fromkeys(keys, 1.0))
        log[2].update(dict.fromkeys(keys, 2.0))
    run("plot", "-k", "*", "-o", "h.svg")
    text = (tmp_path / "h.svg").read_text()
    from xml.etree import ElementTree as ET

    ET.fromstring(text)
    assert "<script" not in text.replace("<!-- <script>", "").replace("<script>$", "")
    assert "\x1b" not in text
    assert "\u202e" not in text
    run("plot", "-k", "*", "-o", "h.png", "--panels")


def test_plot_in_the_terminal(path, monkeypatch):
    pytest.importorskip("plotille")
    monkeypatch.setenv("COLUMNS", "100")
    first, second, _ = uuids(path)
    result = run("plot", second, first, "-k", "loss")
    assert f"first ({first[:8]})" in result.stdout
    assert "resumed at time 10" in result.stdout
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 100
    assert any("⠀" < letter <= "⣿" for letter in result.stdout)
    assert "loss: first NaN at time 13" in result.stderr
    assert "step" in run("plot", first, "--log-y", "--smooth", 5).stdout


def test_plot_of_a_single_point_and_of_nothing_but_nan(path):
    pytest.importorskip("plotille")
    with SQLiteLog(path) as log:
        log[1].update(a=1.0, b=NAN, c=0.0)
    for options in ([], ["--log-y"], ["-o", "p.png"], ["-o", "p.svg", "--log-y"]):
        run("plot", *options)


def test_plot_mistakes(path):
    first = uuids(path)[0]
    for arguments in (
        ["-k", "text"], ["-k", "nope"], ["-k", "raw*"], ["-o", "x.jpg"], ["--x", "nope"],
        ["--x", "text"], ["-o", "missing/x.png"],
    ):  # fmt: skip
        run("plot", first, *arguments, status=1)
    run("plot", first, "--smooth", 0, status=2)


@pytest.mark.parametrize(("module", "options"), [("matplotlib", ["-o", "x.png"]), ("plotille", [])])
def test_plot_without_its_library_names_the_extra(path, monkeypatch, module, options):
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    assert "traininglog[plot]" in run("plot", "-k", "ok*", "-k", "-key", *options, status=1).stderr
    assert not Path("x.png").exists()


def test_a_chart_has_gaps_where_there_are_no_numbers():
    assert [ys for _, ys in segments([1, 2, 3], [1.0, NAN, 2.0])] == [[1.0], [2.0]]


def test_thinning_keeps_ends_extremes_and_gaps():
    ys = [0.0] * 10_000
    ys[5000], ys[7000] = 99.0, NAN
    xs, kept = thinned(list(range(10_000)), ys, 400)
    assert len(xs) <= 500
    assert (xs[0], xs[-1]) == (0, 9999)
    assert 99.0 in kept
    assert any(map(math.isnan, kept))
    assert list(xs) == sorted(xs)


def test_a_chart_is_never_wider_than_a_narrow_terminal(path, monkeypatch):
    pytest.importorskip("plotille")
    monkeypatch.setenv("COLUMNS", "60")
    text = run("plot", uuids(path)[0], "-k", "loss").stdout
    assert max(map(len, text.splitlines())) <= 60


def test_runs_at_times_past_what_a_float_holds_are_exported_and_plotted_exactly(path):
    times = [2**60 + place for place in (1, 2, 3, 5, 8)]
    with SQLiteLog(path) as log:
        for place, time in enumerate(times):
            log[time].update(loss=float(place), tokens=time)
        log.resume(at=times[2])
        uuid = log.h_uuid
        for place, time in enumerate(times[3:]):
            log[time].update(loss=float(place), tokens=time)
    lines = table(run("export", uuid).stdout)[1:]
    assert [int(line[0]) for line in lines] == [int(line[2]) for line in lines] == times
    found = [
        json.loads(line) for line in run("export", uuid, "--format", "jsonl").stdout.splitlines()
    ]
    assert [line["time"] for line in found] == times
    listed = json.loads(run("runs", "--json").stdout)[-1]
    assert listed["resumed_at"] == times[2]
    for x in ((), ("--x", "tokens")):
        moved, first = within_float(_curves_of(path, uuid, x[1] if x else None))
        assert first == times[0]
        assert list(moved[0].xs) == [0, 1, 2, 4, 7]
        assert list(moved[0].resumed) == [2]
        shown = run("plot", uuid, "--keys", "loss", *x).stdout
        assert str(times[0]) in shown
        run("plot", uuid, "--keys", "loss", *x, "-o", "x.svg", "--force")


def _curves_of(path, uuid, x):
    with Store(path) as store:
        runs = store.plotted_runs(
            None, where=None, runs=[uuid], name=None, every=False, archived=False
        )
        return curves_of(store, runs, ["loss"], x=x or "time").curves


@pytest.mark.parametrize(
    ("kind", "layout", "output"),
    [
        ("csv", "wide", None),
        ("csv", "long", "/dev/stdout"),
        ("jsonl", "wide", "-"),
        ("jsonl", "long", None),
    ],
)
def test_what_a_terminal_gets_is_escaped_in_every_format(path, kind, layout, output):
    """A file gets what was logged; a terminal would do what control characters say."""
    hostile = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\x7f\n"
    with SQLiteLog(path) as log:
        log[1].update({hostile: hostile, "nested": {hostile: [hostile]}, "path": Path(hostile)})
    controller, terminal = pty.openpty()
    more = [] if output is None else ["--output", output]
    with os.fdopen(terminal, "w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "traininglog", "export", "--format", kind, "--layout", layout,
             *more, "--store", str(path)],
            stdout=stream, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = b""
    with contextlib.suppress(OSError):  # once nobody has the terminal open
        while part := os.read(controller, 65536):
            shown += part
    os.close(controller)
    text = shown.decode().replace("\r\n", "\n")
    assert "title" in text
    lines = text.splitlines()
    assert all(line.isprintable() for line in lines), lines
    assert len(lines) == {"csvwide": 2, "csvlong": 4, "jsonlwide": 1, "jsonllong": 3}[kind + layout]
