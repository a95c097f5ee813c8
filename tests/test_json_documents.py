"""A JSON document that anybody may have written: read, or refused at once in a plain line."""

import copy
import json
import os
import socket
import subprocess
import sys
import warnings
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from traininglog import CorruptLog, NotATrainingLog, StoreUnwritable, TrainingLogError
from traininglog.cli.app import app
from traininglog.jsonfile import FileTrials
from traininglog.trials import StatAggregator, TrialClient, TrialStore, trial_table

PATIENCE = 120  # seconds, for a process on a crowded machine


@pytest.fixture
def path(tmp_path):
    return tmp_path / "report.json"


def commands(path):
    """Give commands that read a document."""
    for words in (
        ["trials"], ["trials", "--json"], ["trial", "show"], ["trial", "report"],
        ["trial", "files"], ["project", "ls"],
    ):  # fmt: skip
        yield [*words, "-s", f"file:{path}"]


# -- what is no file ------------------------------------------------------------------------------


def sparse(place):
    with place.open("wb") as stream:
        stream.truncate(40 * 2**30)


def sparse_but_for_its_beginning(place):
    with place.open("wb") as stream:
        stream.write(b'{"format": "traininglog trials", "version": 1, "x": "')
        stream.truncate(900 * 2**20)


def large_and_another_thing(place):
    with place.open("wb") as stream:
        for _ in range(300):
            stream.write(b" " * 2**20)


def a_socket(place):
    with socket.socket(socket.AF_UNIX) as made:
        folder = os.open(place.parent, os.O_PATH)
        made.bind(f"/proc/self/fd/{folder}/{place.name}")  # by a path that is short enough
        os.close(folder)


NO_DOCUMENTS = {
    "a FIFO": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda place: place.symlink_to("/dev/null"),
    "an endless device": lambda place: place.symlink_to("/dev/zero"),
    "a link to itself": lambda place: place.symlink_to(place),
    "a link to a FIFO": lambda place: (
        os.mkfifo(place.with_name("fifo")), place.symlink_to(place.with_name("fifo")),
    ),
    "a socket": a_socket,
    "a huge sparse file": sparse,
    "a sparse file that begins like a document": sparse_but_for_its_beginning,
    "a large file of another kind": large_and_another_thing,
}  # fmt: skip

# Tries all that reads or writes a document; prints whether it took less than 200 MiB and 2 s of a
# processor, which are a part of what a person would wait.
TRY = """
import resource, sys, time
from pathlib import Path
import traininglog.trials, traininglog.cli.trial_commands.trial_list, traininglog.memory.trials
from traininglog import TrainingLogError
from traininglog.jsonfile import FileTrials
from traininglog.trials import TrialClient, TrialStore

path = Path(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
def look(): TrialStore(FileTrials(path, readonly=True)).fetch_trials()
def write():
    with TrialClient(f"file:{path}").new_trial(parameters={}) as trial:
        trial.log_metrics(step=1, x=1)
for act in (look, write):
    since = time.process_time()
    try:
        act()
    except TrainingLogError as error:
        assert "\\n" not in str(error), error
        print("refused")
    else:
        print("done")
    print(time.process_time() - since < 2)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024)
"""


def tried(path):
    done = subprocess.run(
        [sys.executable, "-c", TRY, path],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[1] == words[3] == words[4] == "True", words
    return words[0], words[2]


@pytest.mark.parametrize("make", NO_DOCUMENTS.values(), ids=NO_DOCUMENTS)
def test_what_is_no_document_is_refused_at_once(path, make):
    make(path)
    before = path.lstat()
    assert tried(path) == ("refused", "refused")
    for words in commands(path):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 1
        assert result.stderr.startswith("traininglog: ")
        assert result.stderr.count("\n") == 1
    after = path.lstat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size)


@pytest.mark.parametrize("make", list(NO_DOCUMENTS.values())[:7], ids=list(NO_DOCUMENTS)[:7])
def test_what_is_no_lock_is_in_the_way_of_writing_only(path, make):
    """Whoever only reads goes without it: the document is whole whenever it is read."""
    with FileTrials(path).new_log() as log:
        log[0]["x"] = 0
    lock = path.with_name(f"{path.name}-lock")
    lock.unlink()
    make(lock)
    assert tried(path) == ("done", "refused")
    with pytest.raises(StoreUnwritable, match="move it away"):
        FileTrials(path).new_log()
    with FileTrials(path, readonly=True).open_log(log.h_uuid, readonly=True) as seen:
        assert seen.to_dict() == {0: {"x": 0}}


# -- what is no document --------------------------------------------------------------------------

HEAD = '{"format": "traininglog trials", "version": 1, "project": {}, "group": {}, "trial": {}, '
TEXTS = {
    "nothing but space": " \n",
    "a half": HEAD,
    "deep nesting": HEAD + '"environment": {}, "logs": ' + "[" * 200_000,
    "deep objects": HEAD + '"environment": {}, "logs": ' + '{"a":' * 200_000,
    "a number of many digits": HEAD + '"environment": {}, "logs": ' + "1" * 20_000 + "}",
    "a float too large": HEAD + '"environment": {}, "logs": {}, "x": 1e999}',
    "NaN": HEAD + '"environment": {}, "logs": {}, "x": NaN}',
    "a key twice": HEAD + '"environment": {}, "logs": {}, "logs": {}}',
    "a key twice, deep in it": HEAD + '"environment": {"a": {"b": 1, "b": 1}}, "logs": {}}',
    "a NUL": HEAD + '"environment": {}, "logs": {}}\0',
    "no version": '{"format": "traininglog trials"}',
    "a version of another type": '{"format": "traininglog trials", "version": true}',
    "a version of many digits": '{"format": "traininglog trials", "version": -1}',
    "parts that are missing": '{"format": "traininglog trials", "version": 1}',
    "parts of another type": HEAD + '"environment": [], "logs": {}}',
    "a run that is its own ancestor": HEAD + '"environment": {}, "logs": ' + json.dumps(
        {name * 32: {
            "resumed_from": other * 32, "resumed_at": 1, "status": {}, "created": 1.0,
            "columns": {}, "walls": {},
        } for name, other in ("ab", "bc", "ca")}
    ) + "}",
}  # fmt: skip


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_is_no_whole_document_is_damage_and_left_as_it_is(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CorruptLog, match=r"left as it is, mend it or restore a copy"):
        FileTrials(path)
    assert tried(path) == ("refused", "refused")
    assert path.read_text(encoding="utf-8") == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("data", [b"\xff\xfe{", b'{"a": "\xe9"}', "{}".encode("utf-16")])
def test_what_is_no_utf_8_is_damage(path, data):
    path.write_bytes(data)
    with pytest.raises(CorruptLog, match="is no JSON"):
        FileTrials(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    "text", ["[]", "1", '"x"', "null", "{}", '{"format": ["traininglog trials"]}']
)
def test_json_of_something_else_is_no_document(path, text):
    path.write_text(text, encoding="utf-8")
    with pytest.raises(NotATrainingLog, match="left as it is"):
        FileTrials(path)


def test_a_mark_of_the_order_of_bytes_is_no_damage(path):
    """Some editors put it there."""
    FileTrials(path).new_log().close()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with FileTrials(path).new_log() as log:
        log[0]["x"] = 0
    assert len(json.loads(path.read_text(encoding="utf-8"))["logs"]) == 2


def test_a_lineage_of_many_runs_is_read_as_fast_as_it_is_long(path):
    with FileTrials(path).new_log() as log:
        root = log.h_uuid
    contents = json.loads(path.read_text(encoding="utf-8"))
    run, parent = contents["logs"][root], root
    for n in range(3000):
        uuid = f"{n:032x}"
        contents["logs"][uuid] = run | {"resumed_from": parent, "resumed_at": 1}
        parent = uuid
    path.write_text(json.dumps(contents), encoding="utf-8")
    assert tried(path) == ("done", "done")


# -- values of wrong types, at any depth ----------------------------------------------------------


def nested(depth, make):
    made = 1
    for _ in range(depth):
        made = make(made)
    return made


BAD = [
    None, True, -1, 0, 10**30, 2**63, 1e300, -0.5, "x", "", "\ud800", "\x1b[31m", [], [[]], {},
    {"kind": 99}, {"kind": 7, "value": "[["}, {"kind": 8, "base64": "!!"}, {"kind": [], "value": 1},
    {"kind": 8, "base64": ""}, {"kind": 7, "value": '{"$dict": [[[1], 2]]}'},
    {"kind": 12, "value": "{}"},
    {"$float": []}, {"$float": "q"}, {"$dict": 3}, {"a": {"$float": "q"}},
    nested(900, lambda inner: [inner]), nested(400, lambda inner: {"a": inner}),
]  # fmt: skip
KEYS = ["", "\ud800", "-1", "07", "1_0", "x" * 600, "\0", "\uff19", "$dict"]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A document that has a bit of everything."""
    path = tmp_path_factory.mktemp("good") / "report.json"
    client = TrialClient(f"file:{path}")
    client.set_project(name="p", tags={"a": 1.5}, metadata={"n": float("nan")})
    client.set_group(name="g")
    with client.new_trial(name="t", parameters={"lr": 0.1, "l": [1, {"x": None}]}) as trial:
        for n in range(3):
            trial.log_metrics(step=n, loss=n / 2)
        trial.log_metrics(accuracy=1.0)
        trial.log_metrics(aggregator=StatAggregator.lazy(1), mean=5.0)
        with trial.chrono("block"):
            pass
        trial.log[7].update(array=np.arange(3), nan=float("nan"), data=b"abc", both=[1, {"a": 2}])
        trial.log_code(__file__)
    with (
        pytest.raises(ValueError, match="x"),
        client.new_trial(name="u", parameters={"lr": 0.2}),
    ):
        raise ValueError("x")
    store = TrialStore(FileTrials(path))
    store.resume(store.fetch_trials()[0])
    contents = json.loads(path.read_text(encoding="utf-8"))
    for record in contents["environment"].values():
        record["environment"] = dict(islice(record["environment"].items(), 2))
    return contents


def places(value, at=()):
    """Give the way to every value in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inner:
        yield (*at, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*at, key))


def changed(contents, at, act):
    made = copy.deepcopy(contents)
    inner = made
    for key in at[:-1]:
        inner = inner[key]
    act(inner, at[-1])
    return made


def mutants(contents):
    """Give damaged copies of a document: each place set, removed and renamed, by turns."""
    values, keys = cycle(BAD), cycle(KEYS)
    for at in places(contents):
        for value in islice(values, 3):
            yield changed(contents, at, lambda inner, key, new=value: inner.__setitem__(key, new))
        yield changed(contents, at, lambda inner, key: inner.pop(key))
        if isinstance(at[-1], str):
            new = next(keys)
            yield changed(
                contents, at, lambda inner, key, new=new: inner.__setitem__(new, inner.pop(key))
            )


def uses(path, uuids):
    """Give all that is done with a document, by name."""
    store = TrialStore(FileTrials(path))
    client = TrialClient(f"file:{path}")

    def log():
        for trial in store.fetch_trials():
            recorder = store.log_trial_start(trial)
            recorder.log_metrics(None, None, {"accuracy": 2.0})
            recorder.log_metrics(100, None, {"loss": 2.0})
            store.log_trial_finish(trial)

    yield lambda: [repr(one) for one in store.fetch_projects() + store.fetch_groups()]
    yield lambda: [(str(one), one.metrics, one.chronos, one.tags) for one in store.fetch_trials()]
    yield lambda: store.fetch_trials({"parameters.lr": {"$gt": 0.15}}, sort="created")
    yield store.latest
    yield lambda: trial_table.lines(store, store.fetch_trials(), {"loss": "min"})
    yield lambda: [store.environment(one) for one in store.fetch_trials()]
    yield client.report
    yield lambda: [list(store.records.open_log(uuid, readonly=True).status) for uuid in uuids]
    yield lambda: [store.records.open_log(uuid, readonly=True).to_dict() for uuid in uuids]
    yield lambda: [store.add_trial_tags(one, z=1) for one in store.fetch_trials()]
    yield log


@pytest.mark.parametrize("part", range(4))
def test_a_document_with_wrong_types_anywhere_is_read_or_refused(good, tmp_path, part):
    """By every use of it: nothing ends in an error that is not one of the package's own."""
    refused = 0
    for number, contents in enumerate(islice(mutants(good), part, None, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "report.json"
        path.write_text(json.dumps(contents), encoding="utf-8")
        try:
            found = list(uses(path, good["logs"]))
        except TrainingLogError:
            refused += 1
            continue
        for use in found:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    use()
                except TrainingLogError:
                    refused += 1
    assert refused > 50


def test_commands_end_in_one_line_for_a_document_with_wrong_types(good, path):
    for contents in islice(mutants(good), 0, None, 23):
        path.write_text(json.dumps(contents), encoding="utf-8")
        for words in commands(path):
            result = CliRunner().invoke(app, words)
            assert result.exit_code in (0, 1), (words, result.exception)
            if result.exit_code:
                assert result.stderr.startswith("traininglog: ")
                assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("scheme", ["", "sqlite:///", "file:"])
def test_a_link_to_itself_is_refused_by_every_store(path, scheme):
    path.symlink_to(path)
    for words in (["trials"], ["trial", "show"], ["runs"], ["check"]):
        if scheme == "file:" and words[0] in ("runs", "check"):
            continue
        result = CliRunner().invoke(app, [*words, "-s", f"{scheme}{path}"])
        assert result.exit_code == 1, result.exception
        assert result.stderr.startswith("traininglog: ")
    with pytest.raises(TrainingLogError, match=path.name):
        TrialClient(f"{scheme}{path}").new_trial(parameters={})
