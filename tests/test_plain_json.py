"""Every form of values in JSON gives back what it was given; what older versions wrote is read."""

import json
import math
import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import SQLiteLog, TrainingLog
from traininglog.encoding import HIDDEN, decode, encode, fits, from_plain_json, to_plain_json
from traininglog.errors import CorruptLog, ValueRangeError
from traininglog.jsonfile.cells import from_json as from_cell
from traininglog.jsonfile.cells import to_json as to_cell
from traininglog.loop.states import trees
from traininglog.plain_json import escaped, shown, shown_json, unescaped
from traininglog.testing.samples import Colour, same
from traininglog.trial_records import flaw_of
from traininglog.trials.plain import identity, plain_data
from traininglog.values import plain

#: Two lone surrogates that JSON joins to one character.
PAIR = "\ud83d\ude00"


def number(bits):
    return struct.unpack(">d", bytes.fromhex(bits))[0]


NANS = [number("fff8000000000000"), number("7ff8000000000001"), number("7ff0000000000001")]

texts = st.text(st.characters(), max_size=4) | st.sampled_from(
    [PAIR, f"a{PAIR}", PAIR[::-1], PAIR[0], "\0", "$dict", "$text", "$float", "$", "nan", "😀"]
)
floats = st.floats() | st.sampled_from([*NANS, math.inf, -math.inf, -0.0, 5e-324])
numbers = st.integers(-(2**63), 2**63 - 1)
moments = st.datetimes(
    timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-3, minutes=-30))])
)
leaves = st.one_of(
    st.none(), st.booleans(), numbers, floats, texts, st.binary(max_size=9), moments, st.uuids(),
    st.sampled_from([Colour.RED, Path("a/b"), np.array(NANS), np.zeros((0, 2), np.float16)]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(texts | numbers | st.none(), inner, max_size=3)
    ),
).map(plain)
ours = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
)


def strict(data):
    """Return data of JSON as another program gets it."""
    return json.loads(json.dumps(data, allow_nan=False))


@given(values)
def test_a_value_comes_back_from_the_form_of_values(value):
    assert same(from_plain_json(strict(to_plain_json(value))), value)
    kind, stored = encode(value)
    assert same(decode(kind, stored), value)
    assert fits(kind, stored)


@given(values)
def test_a_value_comes_back_from_a_cell_of_a_document(value):
    assert same(from_cell(strict(to_cell(value))), value)


@given(ours)
def test_a_tree_comes_back_from_the_form_of_trees(tree):
    assert same(trees.from_json(strict(trees.to_json(tree, [])), []), tree)


@given(ours)
def test_plain_data_of_a_trial_comes_back_from_its_record(value):
    """Of all NaNs, the usual one."""
    data = plain_data(value)
    back = unescaped(strict(escaped(data)))
    assert identity(back) == identity(data)


@given(values)
def test_any_value_has_a_shown_form_which_is_strict_json(value):
    assert json.loads(shown_json(value)) == strict(shown(value))
    assert shown_json(value).isascii()


@pytest.mark.parametrize("where", ["memory:", "runs.db"])
def test_surrogates_that_json_would_join_stay_two(tmp_path, where):
    """As texts of other programs have them, that cut a character in two."""
    value = [PAIR, {PAIR: [f"a{PAIR}b"]}]
    log = TrainingLog() if where == "memory:" else SQLiteLog(tmp_path / "runs.db")
    with log:
        log[1].update(value=value, text=PAIR)
        log.status["value"] = value
        state = strict(log.state_dict())
        log.load_state_dict(state)
        assert [dict(log[1]), log.status["value"]] == [{"value": value, "text": PAIR}, value]


def test_a_trial_has_the_character_that_surrogates_mean():
    """So its hash is that of what the store gives back."""
    data = plain_data({"name": PAIR, PAIR: 1})
    assert data == {"name": "😀", "😀": 1}
    assert unescaped(strict(escaped(data))) == data


def test_an_integer_that_json_cannot_be_read_with():
    """A checkpoint keeps it, a trial refuses it with a remedy."""
    huge = -(10**5000)
    assert trees.from_json(strict(trees.to_json({"state": huge}, [])), []) == {"state": huge}
    with pytest.raises(ValueRangeError, match=r"of 16,610 bits .* use hex\(value\)"):
        escaped(plain_data({"seed": huge}))
    most = 2**14_000 - 1
    assert unescaped(strict(escaped(plain_data(most)))) == most


# -- what older versions wrote: these texts never change ------------------------------------

VALUES = [
    ('{"a":[1,2.5,null,true,"t"]}', {"a": [1, 2.5, None, True, "t"]}),
    ('[{"$float":"nan"},{"$float":"-inf"}]', [number("7ff8000000000000"), -math.inf]),
    ('[{"$float":"nan:fff8000000000000"}]', [NANS[0]]),
    ('{"$dict":[[1,"int"],["$x",{"$bytes":"AP8="}]]}', {1: "int", "$x": b"\0\xff"}),
    ('[{"$uuid":"00000000-0000-0000-0000-000000000001"}]', [UUID(int=1)]),
    ('[{"$path":"a/b"}]', [Path("a/b")]),
    ('[{"$datetime":"2024-01-02T03:04:05.000006+00:00"}]',
     [datetime(2024, 1, 2, 3, 4, 5, 6, UTC)]),
    ('[{"$enum":{"type":"traininglog.testing.samples:Colour","name":"RED","value":"r"}}]',
     [Colour.RED]),
    ('["\\ud83d\\ude00","\\udc00"]', ["😀", "\udc00"]),
    ('{"$unknown":1}', {"$unknown": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_an_older_value_is_read(text, value):
    assert same(decode(7, text), plain(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"kind": 4, "value": "nan"}', number("7ff8000000000000")),
        ('{"kind": 4, "value": "nan:fff8000000000000"}', NANS[0]),
        ('{"kind": 4, "value": "-inf"}', -math.inf),
        ('{"kind": 6, "base64": "AP8="}', b"\0\xff"),
        ('{"kind": 5, "base64": "7bCA"}', "\udc00"),
        ('{"kind": 7, "value": "[{\\"$float\\":\\"inf\\"}]"}', [math.inf]),
        ('{"kind": 11, "value": "a/b"}', Path("a/b")),
        ("9223372036854775807", 2**63 - 1),
        ("-0.0", -0.0),
        ("true", True),
        ("null", None),
    ],
)
def test_an_older_cell_of_a_document_is_read(text, value):
    assert same(from_cell(json.loads(text)), plain(value))
    assert strict(to_cell(plain(value))) == json.loads(text)


def test_a_tombstone_is_a_cell():
    assert to_cell(HIDDEN) == {"kind": 0, "value": None}
    assert from_cell({"kind": 0, "value": None}) is HIDDEN


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"$float": "nan"}', number("7ff8000000000000")),
        ('{"$float": "-inf"}', -math.inf),
        ('{"$dict": {"$float": "text"}}', {"$float": "text"}),
        ('{"$dict": {"$dict": {"$float": "inf"}}}', {"$dict": math.inf}),
        ('{"$text": "7bCA", "$dict": 1}', {"$text": "7bCA", "$dict": 1}),
        ('{"$text": "7bCA"}', {"$text": "7bCA"}),
    ],
)
def test_older_plain_data_of_a_trial_is_read(text, value):
    """This form has two tags alone; what else begins with a dollar is a name of the user's."""
    assert same(unescaped(json.loads(text)), value)
    assert strict(escaped(value)) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('[{"$float": "-inf"}, {"$bytes": "AP8="}, {"$complex": [1.0, {"$float": "inf"}]}]',
         [-math.inf, b"\0\xff", complex(1, math.inf)]),
        ('{"$dict": [[{"$tuple": [1, "a"]}, {"$set": [1, 2]}]]}', {(1, "a"): {1, 2}}),
        ('{"$value": [9, "2024-01-02T00:00:00+00:00"]}', datetime(2024, 1, 2, tzinfo=UTC)),
        ('{"$value": [11, "a/b"]}', Path("a/b")),
        (str(-(2**70)), -(2**70)),
    ],
)  # fmt: skip
def test_an_older_tree_is_read(text, value):
    assert trees.from_json(json.loads(text), []) == value
    assert strict(trees.to_json(value, [])) == json.loads(text)


# -- damage ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '[{"$bytes":"A*P8="}]',
        '[{"$float":"x"}]',
        '[{"$text":"_"}]',
        '[{"$float":1}]',
        '[{"$uuid":1}]',
    ],
)
def test_a_damaged_tag_is_told(text):
    with pytest.raises(CorruptLog):
        decode(7, text)


@pytest.mark.parametrize("part", [{"$float": "x"}, {"$float": 1}, {"$dict": []}])
def test_a_damaged_tag_of_a_record_is_told(part):
    with pytest.raises(CorruptLog):
        unescaped({"a": [part, {"$dict": 1}]})
    fields = dict.fromkeys(
        ("uid", "edit", "token", "created", "name", "description", "metadata"), None
    )
    assert "is no" in flaw_of("project", "p", {**fields, "tags": {"a": [part]}})
