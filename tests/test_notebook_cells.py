"""What a notebook shows of logs, rows, stores and groups: small, useful, and escaped."""

import math

import pytest
from test_reports import HOSTILE, Page

from traininglog import SQLiteLog, Store, TrainingLog


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "runs.db"
    for number in range(20):
        with SQLiteLog(path) as log:
            log.status.update({"name": HOSTILE, "config": {"n": number % 2}})
            log[0].update({HOSTILE: 1.0, "text": HOSTILE})
            log[1].update({HOSTILE: math.nan, **{f"key{place}": place for place in range(30)}})
            log[2].update({HOSTILE: 0.5})
    return path


def shown(thing):
    html = thing._repr_html_()
    page = Page(html)
    assert not {"img", "script", "style"} & set(page.tags)
    assert "\u202e" not in html
    assert len(html) < 20_000
    return page


def test_a_log_is_its_keys_with_last_values_and_curves(path):
    with Store(path) as store, store.log(store.latest(), readonly=True) as log:
        page = shown(log)
        heads, first, *rest = page.tables[0]["rows"]
        assert heads == ["key", "last", "at time", "min", "max", "curve"]
        assert first[1:5] == ["0.5", "2", "0.5", "1"]
        assert page.tags.count("svg") == 1
        assert len(rest) == 11
        assert "3 rows, times 0 to 2; 32 keys" in page.text
        assert "20 keys more" in page.text
        assert "Row at time 1" in shown(log[1]).text
        assert "Status" in shown(log.status).text


def test_a_store_is_its_latest_experiments(path):
    with Store(path) as store:
        page = shown(store)
        assert "20 experiments" in page.text
        assert "8 earlier experiments more" in page.text
        assert len(page.tables[0]["rows"]) == 1 + 12


def test_a_group_is_its_statistics(path):
    with Store(path) as store:
        group, _ = store.iter_groups("config.n", "key3")
    page = shown(group)
    assert "10 experiments: config.n 0" in page.text
    assert page.tables[0]["rows"][1][:3] == ["key3", "10", "3"]


def test_what_is_empty_can_be_shown():
    log = TrainingLog()
    assert "0 rows; 0 keys" in shown(log).text
    assert "Row at time 3" in shown(log[3]).text
