"""The benchmarks run, on little data and with nothing to install. Of times nothing is asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def from_benchmarks(monkeypatch):
    """Make the modules of the benchmarks importable, as they are to each other."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    for path in BENCHMARKS.glob("*.py"):  # a folder of tests may have the name of one
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "")).startswith(str(BENCHMARKS)):
            del sys.modules[name]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Run a benchmark as `make bench` does; return the path of the page that it makes."""
    path = tmp_path_factory.mktemp("page") / "page.md"
    command = [
        sys.executable, BENCHMARKS / "run.py", "size", "--quick",
        "--no-peers", "--peers", "csv,parquet",
        "--json", path.with_suffix(".json"), "--output", path,
    ]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def reports(page):
    return json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))


def test_sizes_are_reported_for_us_and_for_who_needs_no_installing(reports):
    report = reports["size"]
    assert report["claim"].startswith("A closed log takes at most 5 bytes")
    field = report["tables"][-1]
    assert {"traininglog", "csv", "Parquet"} <= {row[0] for row in field["rows"]}
    (bars,) = report["bars"]
    assert next(iter(bars["values"])) == "traininglog"  # the others are compared with the first
    assert 17 < bars["values"]["csv"] < 22  # digits, which depend on no machine
    assert report["peers"].keys() == {"csv", "Parquet"}
    assert not [note for note in report["notes"] if "failed" in note]


def test_every_row_of_a_table_has_all_its_columns(reports):
    for report in reports.values():
        for table in report["tables"]:
            assert table["rows"]
            assert {len(row) for row in table["rows"]} == {len(table["columns"])}


def test_the_page_has_a_section_for_each_report_and_a_picture(page, reports):
    text = page.read_text(encoding="utf-8")
    for name, report in reports.items():
        assert f"## {name}\n\n{report['claim']}" in text
        assert report["facts"]["cores"]
    assert "| peer | version |" in text
    assert "(page.svg)" in text
    assert "<svg" in page.with_suffix(".svg").read_text(encoding="utf-8")


@pytest.mark.usefixtures("from_benchmarks")
def test_what_a_peer_reads_must_be_what_was_written(tmp_path):
    from contenders import Contenders, Failed
    from peers.peer import Data

    data = Data.save(tmp_path / "data", {key: [0.1, 0.2, 0.3] for key in "abcd"})
    other = Data.save(tmp_path / "other", {key: [0.1, 0.2, 0.4] for key in "abcd"})
    peer = next(one for one in Contenders(("csv",), plain=True) if one.peer == "csv")
    run = peer.do("write", tmp_path / "csv", data=data, steps=3)["run"]
    read = {"what": "frame", "run": run, "steps": 3}
    assert peer.do("read", tmp_path / "csv", data=data, **read)["seconds"] > 0
    with pytest.raises(Failed, match=r"0\.3 was read where 0\.4"):
        peer.do("read", tmp_path / "csv", data=other, **read)


@pytest.mark.usefixtures("from_benchmarks")
def test_a_peer_that_cannot_be_installed_is_named_with_the_reason(monkeypatch, tmp_path):
    import contenders
    import environments

    nobody = environments.Peer("Nobody", ("traininglog-has-no-such-peer>=99", "nothing>=1"))
    monkeypatch.setattr(environments, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(environments, "PEERS", {"nobody": nobody})
    monkeypatch.setattr(contenders, "PEERS", {"nobody": nobody})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = contenders.Contenders()
    assert list(found) == []
    assert "Could not find a version" in found.versions()["Nobody"]
    assert not (tmp_path / "nobody" / "complete.json").exists()


@pytest.mark.usefixtures("from_benchmarks")
def test_every_peer_in_the_table_has_its_file_and_every_file_its_line():
    import environments

    files = {path.stem.removesuffix("_peer") for path in BENCHMARKS.glob("peers/*_peer.py")}
    assert files == environments.PEERS.keys()


@pytest.mark.usefixtures("from_benchmarks")
def test_a_section_measured_on_another_day_says_so():
    from page import render

    def report(date):
        return {
            "claim": "It is quick.", "tables": [], "notes": [], "bars": [], "peers": {},
            "facts": {"date": date, "cores": "2"},
        }  # fmt: skip

    page = render({"size": report("2026-01-02"), "memory": report("2026-01-01")})
    assert page.count("Measured apart from the rest, with date 2026-01-01.") == 1
    assert "apart" not in page[page.index("## size") : page.index("## memory")]


@pytest.mark.usefixtures("from_benchmarks")
def test_without_pytorch_the_section_on_lenses_says_so(monkeypatch):
    import lenses
    from contenders import Contenders
    from page import render

    monkeypatch.setattr(lenses.importlib.util, "find_spec", lambda name: None)
    report = lenses.measure(True, Contenders(plain=True))
    facts = {"date": "2026-01-01"}
    page = render({"lenses": {**vars(report), "facts": facts}})
    assert "## lenses" in page
    assert "Not measured: PyTorch is not here" in page


@pytest.mark.usefixtures("from_benchmarks")
def test_who_logs_nothing_is_measured_beside_lenses_only(monkeypatch):
    import contenders

    assert not contenders.PEERS["monitorch"].logs
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    found = contenders.Contenders(("monitorch",))
    assert {one.peer for one in found} == {"traininglog"}
    assert "monitorch" not in found.versions()
