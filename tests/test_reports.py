"""A report is one page that needs nothing else, says what is so, and runs nothing that it shows."""

import math
from html.parser import HTMLParser

import pytest
from browser import browse, dom
from command_line import run
from hypothesis import given
from hypothesis import strategies as st

from traininglog import BadQuery, RunNotFound, SQLiteLog, Store
from traininglog.columns import Column
from traininglog.markup.elements import Markup, element, table, text
from traininglog.markup.scales import scale_of
from traininglog.markup.thinning import points_of

HOSTILE = (
    "</style></script><script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&"
    "\u202e\x1b"
)


class Page(HTMLParser):
    """What is on a page: its tables as texts, its tags, the texts of scripts."""

    EMPTY = ("meta", "br", "circle", "line", "path", "rect")

    def __init__(self, html):
        super().__init__()
        self.tables, self.tags, self.open, self.attributes = [], [], [], []
        self.words = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.EMPTY:
            self.open.append(tag)
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in ("td", "th"):
            self.tables[-1]["rows"][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1]["rows"][-1][-1] += data
        elif "caption" in self.open:
            self.tables[-1]["caption"] += data

    def named(self, caption):
        """Return the table with this caption: its heads, and its rows by their first cells."""
        (found,) = (each for each in self.tables if caption in each["caption"])
        heads, *rows = found["rows"]
        return {row[0]: dict(zip(heads, row, strict=True)) for row in rows}

    @property
    def text(self):
        return " ".join(self.words)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def new(path, values, key="loss", **status):
    with SQLiteLog(path) as log:
        log.status.update(status)
        for time, value in enumerate(values):
            log[time][key] = value
        return log.uuid


def report(path, **asked):
    with Store(path, readonly=True) as store:
        target = path.parent / "report.html"
        store.report(target, overwrite=True, **asked)
        return Page(target.read_text(encoding="utf-8"))


def test_a_report_has_a_line_for_each_experiment_with_what_differs(path):
    new(path, [3.0, 2.0], name="a", config={"optim": {"lr": 0.1}, "batch": 8})
    first = new(path, [3.0, 1.0], name="b", config={"optim": {"lr": 0.2}, "batch": 8})
    with SQLiteLog(path, first) as log:
        log.resume(at=0)
        log[1]["loss"] = 0.5
    lines = report(path).named("one line each")
    assert list(lines) == ["a", "b"]
    assert lines["b"] == {
        "experiment": "b", "state": "finished", "resumes": "1", "last time": "1",
        "optim.lr": "0.2", "loss": "0.5",
    }  # fmt: skip


def test_groups_count_each_experiment_once_and_say_who_is_not_counted(path):
    for lr, value in ((0.1, 1.0), (0.1, 3.0), (0.1, math.nan), (0.2, 5.0)):
        new(path, [9.0, value], config={"lr": lr})
    groups = report(path, group_by="config.lr").named("The last loss")
    assert groups["0.1"]["n"] == "2"
    assert groups["0.1"]["mean"] == "2"
    assert groups["0.1"]["std"] == "1.41421"
    assert groups["0.1"]["not counted"] == "1"
    assert groups["0.2"] | {"mean": "5", "std": "-", "± 95%": "-"} == groups["0.2"]


def test_a_report_says_how_much_it_leaves_out(path):
    for number in range(5):
        with SQLiteLog(path) as log:
            log.status["name"] = f"run{number}"
            log[0].update({f"key{place}": number for place in range(20)})
    page = report(path, limit=2)
    assert "2 of 5 experiments, the latest" in page.text
    assert list(page.named("one line each")) == ["run3", "run4"]
    assert "12 keys are drawn. Left out: key12" in page.text
    assert "Left out, 8 keys: key12" in page.text
    page = report(path, limit=2, sort="-last.key0", where="last.key0 < 4")
    assert "2 of 4 experiments, the first in this order" in page.text
    assert list(page.named("one line each")) == ["run3", "run2"]


def test_the_best_is_shown_where_a_direction_was_declared(path):
    new(path, [0.1, 0.9, 0.5], key="acc", name="a", goals={"acc": "max"})
    assert report(path).named("one line each")["a"]["max acc"] == "0.9"


def test_nan_infinities_and_resumes_are_marked(path):
    uuid = new(path, [1.0, math.nan, math.inf, -math.inf, 2.0], name="a")
    with SQLiteLog(path, uuid) as log:
        log.resume()
        log[5]["loss"] = 3.0
    page = report(path)
    classes = [value for name, value in page.attributes if name == "class"]
    assert classes.count("nan") == 1
    assert classes.count("infinite") == 2
    assert classes.count("resume") == 1
    assert "1 NaN, the first at time 1; 2 infinite, the first at time 2" in page.text
    assert "resumed after time 4" in page.text
    assert "goes on with" in page.text


def test_a_variant_is_told_from_what_goes_on(path):
    uuid = new(path, [1.0, 2.0], name="base")
    with SQLiteLog(path, uuid) as log:
        log.resume(at=0, variant=True)
        log[1]["loss"] = 3.0
    assert f"variant of {uuid.hex[:8]} after time 0" in report(path).text


def test_an_empty_store_has_a_report(path):
    with SQLiteLog(path):
        pass
    with Store(path) as store:
        store.delete(store.latest())
    assert "0 experiments" in report(path).text


def test_nothing_that_was_logged_becomes_markup(path):
    for number in range(2):
        with SQLiteLog(path) as log:
            log.status.update(
                {
                    "name": HOSTILE,
                    "config": {HOSTILE: HOSTILE, "n": number, "deep": {HOSTILE: [HOSTILE]}},
                    "tags": {HOSTILE: HOSTILE},
                    "notes": HOSTILE,
                    "goals": {HOSTILE: "min"},
                }
            )
            log[0].update({HOSTILE: 0.5, "text": HOSTILE})
            log[1].update({HOSTILE: 0.25, "text": HOSTILE})
    page = report(path, title=HOSTILE, group_by=["name", "config.n"])
    plain = report(path)
    assert "img" not in page.tags
    assert page.tags.count("script") == plain.tags.count("script") == 1 + 1  # ours, and one panel
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\u202e" not in page.text
    assert "\x1b" not in page.text
    assert r"\u202e" in page.text


@given(st.text(), st.text())
def test_whatever_a_text_is_it_stays_a_text(content, attribute):
    html = element("p", content, title=attribute)
    assert html.count("<") == html.count(">") == 2
    page = Page(html)
    assert page.tags == ["p"]
    (pair,) = page.attributes
    assert pair[0] == "title"
    html.encode()  # no lone surrogate


def test_markup_is_escaped_once():
    assert text(text("<")) == "&lt;"
    assert isinstance(table("a", ["b"], [["<"]]), Markup)


def test_a_report_loads_nothing_and_forbids_it(path):
    new(path, [1.0, 2.0])
    page = report(path)
    assert not {"link", "iframe", "object", "img", "base", "form"} & set(page.tags)
    assert not {"src", "href", "style", "action"} & {name for name, _ in page.attributes}
    (policy,) = (
        value for name, value in page.attributes if name == "content" and "default-src" in value
    )
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_a_file_is_replaced_only_on_request_and_never_half(path, tmp_path):
    new(path, [1.0])
    target = tmp_path / "there.html"
    target.write_text("mine")
    with Store(path) as store:
        with pytest.raises(FileExistsError, match="overwrite=True"):
            store.report(target)
        with pytest.raises(BadQuery):
            store.report(target, where="config.lr <", overwrite=True)
        with pytest.raises(KeyError, match="los"):
            store.report(target, keys="los", overwrite=True)
        with pytest.raises(RunNotFound):
            store.report(target, "0" * 32, overwrite=True)
        with pytest.raises(ValueError, match="limit"):
            store.report(target, limit=0, overwrite=True)
        with pytest.raises(ValueError, match="last"):
            store.report(target, of="first", overwrite=True)
        assert target.read_text() == "mine"
        store.report(target, overwrite=True)
    assert target.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert not list(tmp_path.glob(".*.part"))


def test_the_command_writes_what_the_store_does(path, tmp_path):
    one = new(path, [1.0], name="a")
    new(path, [1.0], name="b")
    target = tmp_path / "out.html"
    asked = ["report", "--store", str(path), "-o", str(target)]
    run(*asked, one.hex[:12])
    assert list(Page(target.read_text(encoding="utf-8")).named("one line each")) == ["a"]
    assert "--force" in run(*asked, status=1).stderr
    run(*asked, "--force", "--where", 'name == "b"')
    assert list(Page(target.read_text(encoding="utf-8")).named("one line each")) == ["b"]
    assert "--of" in run(*asked, "--force", "--of", "first", status=1).stderr


# -- curves -------------------------------------------------------------------------------------

numbers = st.one_of(st.floats(), st.integers(-(2**63), 2**63 - 1), st.booleans())


@given(st.dictionaries(st.integers(0, 2**63 - 1), numbers, min_size=1, max_size=300))
def test_thinning_keeps_the_ends_and_the_extremes(entries):
    times = sorted(entries)
    points = points_of(Column("k", times, [entries[time] for time in times]), 16)
    finite = [(t, float(entries[t])) for t in times if math.isfinite(float(entries[t]))]
    assert points.finite_count == len(finite)
    assert points.nan_count + points.infinite_count == len(times) - len(finite)
    assert points.times == sorted(set(points.times))
    assert set(zip(points.times, points.values, strict=True)) <= set(finite)
    if finite:
        values = [value for _, value in finite]
        assert {min(values), max(values)} <= set(points.values)
        assert (points.times[0], points.times[-1]) == (finite[0][0], finite[-1][0])
        scale = scale_of(points.values, 0, 100, 0.05)
        assert all(-1 <= scale.place(value) <= 101 for value in points.values)
        assert all(math.isfinite(tick) for tick in scale.ticks(5))


def test_what_is_no_number_breaks_a_line_and_no_number_at_all_is_no_curve():
    points = points_of(Column("k", [0, 1, 2, 3], [1.0, None, 2.0, "x"]), 100)
    assert points.breaks == [False, True]
    assert points.nan_count == 0
    assert points_of(Column("k", [0, 1], ["x", None]), 100) is None


# -- in a browser -------------------------------------------------------------------------------


def test_a_browser_runs_the_script_and_nothing_that_was_logged(path, tmp_path):
    new(path, [1.0, math.nan, 2.0], key=HOSTILE, name=HOSTILE)
    new(path, [1.0, 3.0], key=HOSTILE, name="b", config={HOSTILE: HOSTILE})
    report(path, group_by="state")
    html, console = dom(tmp_path, tmp_path / "report.html")
    assert console == []  # no error, and nothing that the policy had to stop
    assert '<html lang="en" class="live">' in html
    assert "<title>Experiments of runs.db</title>" in html
    assert "<img" not in html


def test_a_browser_prints_it(path, tmp_path):
    new(path, [1.0, 2.0])
    report(path)
    browse(tmp_path, tmp_path / "report.html", f"--print-to-pdf={tmp_path / 'report.pdf'}")
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
