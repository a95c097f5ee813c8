"""The attributes of tags in the status of a log, few or many, old or new."""

import numpy as np
import pytest

from traininglog import SQLiteLog, TrainingLog
from traininglog.lenses import Inspector, LogWriter, OutputNorm, TagAttributes, tags_of
from traininglog.lenses.tags import stored_tags as module
from traininglog.lenses.tags.stored_tags import attributes_of, stored_tags


def tags(layers):
    names = [f"a.module.with.a.long.name.{number}" for number in range(layers)]
    aliases = {names[3]: ["another name", "é"]}
    return {
        "loss": TagAttributes(big=True, layers=["train"]).to_dict(),
        "norm": TagAttributes(layers=names, aliases=aliases).to_dict(),
        "gradient": TagAttributes(layers=names[::2]).to_dict(),
        "odd": TagAttributes(layers=[*names[5:9], *names[1:3], names[7 + 5]]).to_dict(),
        "none": TagAttributes().to_dict(),
    }


@pytest.mark.parametrize("layers", [20, 3000])
def test_what_is_stored_is_read_whether_it_is_much_or_little(layers, monkeypatch):
    wanted = tags(layers)
    stored = stored_tags(wanted)
    assert (len(stored) > 1) == (layers == 3000)
    assert attributes_of(stored) == wanted
    for bound in (1, 200, 10**6):  # of the parts
        monkeypatch.setattr(module, "PART", bound)
        monkeypatch.setattr(module, "PLAIN", 0)
        assert attributes_of(stored_tags(wanted)) == wanted


def test_parts_of_two_times_are_read_too():
    """They are written one by one; a reader, or a kill, may come in between."""
    old, new = stored_tags(tags(3000)), stored_tags(tags(3500))
    for number in range(len(new) + 1):
        mixed = old | dict(list(new.items())[:number])
        read = attributes_of(mixed)
        assert list(read) == list(tags(20))
        assert read["loss"]["layers"] == ["train"]


@pytest.mark.parametrize("store", ["memory", "sqlite"])
def test_no_value_in_the_status_is_large(store, tmp_path):
    log = TrainingLog() if store == "memory" else SQLiteLog(tmp_path / "runs.db")
    with log:
        writer = LogWriter(log)
        for tag, attributes in tags(20000).items():
            writer.register_tag(tag, TagAttributes.from_dict(attributes))
        writer.write_tags()
        assert writer.refused() == []
        assert tags_of(log)["norm"].layers == tags(20000)["norm"]["layers"]
        assert tags_of(log)["norm"].aliases == tags(20000)["norm"]["aliases"]


def test_where_the_status_takes_nothing_the_numbers_are_written():
    log = TrainingLog()
    log._max_value_bytes = 64
    inspector = Inspector([OutputNorm()], log)
    inspector.observe("output", "a", np.array([[3.0, 4.0]]))
    with pytest.warns(match="the log could not take layer 'lenses' .*ValueTooLarge"):
        inspector.tick()
    assert log[1]["output norm/a/mean"] == 5.0
