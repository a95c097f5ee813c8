"""What all tests share."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,  # machines are shared and noisy: a slow example is not a wrong one
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("default")


TESTS = Path(__file__).parent

#: What `make quick` leaves out: folders, files and single tests that take long, most of them
#: because they start processes, kill them, or wait. A test may also be marked where it stands.
SLOW = (
    "faults",
    "loop/test_examples.py",
    "loop/test_interrupts.py",
    "test_arrow.py::test_what_a_stream_gives_and_foretells_is_what_is_there",
    "test_benchmarks.py",
    "test_cli_process.py",
    "test_concurrency.py",
    "test_demo.py",
    "test_journal.py",
    "test_long_lineages.py",
    "test_machine.py",
    "test_merge.py::test_any_order_of_merges_of_any_copies_gives_the_last_one",
    "test_merge.py::test_copies_that_diverged_at_different_places_unite_in_any_order",
    "test_processes.py",
    "test_pages.py::test_the_code_of_a_page_runs",
    "test_schema.py::test_many_processes_that_open_an_old_file_upgrade_it_once",
    "test_sealing.py",
    "test_trial_endings.py",
    "test_turns.py::test_nobody_is_passed_by_others_again_and_again",
    "test_wide_rows.py",
)

HAVE_TORCH = importlib.util.find_spec("torch") is not None


@pytest.hookimpl(tryfirst=True)  # before those that are not asked for are left out
def pytest_collection_modifyitems(items):
    """Mark what takes long."""
    for name in SLOW:
        file, _, test = name.partition("::")
        if not (TESTS / file).exists() or f"def {test}" not in _text(TESTS / file):
            raise pytest.UsageError(f"tests/conftest.py calls {name} slow, which is not there")
    for item in items:
        if " at 0x" in item.nodeid:  # no two processes would have the same tests
            raise pytest.UsageError(f"{item.nodeid} has an address in its name; give it ids")
        if not item.path.is_relative_to(TESTS):
            continue
        file = item.path.relative_to(TESTS)
        whole = {str(file), *map(str, file.parents)}
        if whole & set(SLOW) or f"{file}::{item.name.partition('[')[0]}" in SLOW:
            item.add_marker(pytest.mark.slow)


def _text(path):
    return path.read_text(encoding="utf-8") if path.is_file() else "def "


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Fail where a whole file is skipped for want of a package that the `test` extra brings."""
    return _never_for_want_of_an_extra((yield))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fail where a test is skipped for want of a package that the `test` extra brings."""
    return _never_for_want_of_an_extra((yield))


def _never_for_want_of_an_extra(report):
    """Only PyTorch may be missing: it is in no extra that the tests ask for."""
    if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2]
        if "could not import" in reason and "'torch" not in reason:
            report.outcome = "failed"
            report.longrepr = f"{reason}; install what the tests need: pip install -e '.[test]'"
    return report


def pytest_terminal_summary(terminalreporter):
    """Say that tests were left out which are not even collected."""
    if not HAVE_TORCH:
        terminalreporter.write_line("PyTorch is not installed here: its tests were left out.")


# Tests that are started in the background, or by nohup, ignore signals that some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def always_sealing(monkeypatch):
    """Have logs seal after every few writes, as long as the test runs."""
    from sealing_often import seal_often

    seal_often(monkeypatch.setattr)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(tmp_path_factory, monkeypatch):
    """Keep the settings of whoever runs the tests, and files in their folder, out of them."""
    for name in list(os.environ):
        if name.startswith("TRAININGLOG_"):
            monkeypatch.delenv(name)
    for name in ("COLUMNS", "LINES"):  # of whose terminal, and not of those that tests make
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))
