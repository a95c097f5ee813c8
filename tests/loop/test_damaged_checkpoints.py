"""Whatever lies where a checkpoint should: it is taken as it was written, or the one before it is.

Never another state in silence, never a program that hangs, never a traceback of somebody else's.
"""

from __future__ import annotations

import copy
import io
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from patience import GUARD

from traininglog import SQLiteLog, TrainingLog, TrainingLogWarning
from traininglog.loop import CheckpointDamaged, CheckpointUnusable, TrainLoop
from traininglog.loop.checkpoint.checks import check
from traininglog.loop.checkpoint.folder import CheckpointFolder
from traininglog.loop.checkpoint.manifest import sealed

FORMAT_1 = Path(__file__).with_name("format1")


def train(folder, log, epochs, params=None, **options):
    """Train for some epochs of four steps; return the parameters."""
    params = {"w": np.zeros(3)} if params is None else params
    with TrainLoop(
        params, log=log, max_epoch=epochs, checkpoint_dir=folder, checkpoint_epoch_freq=1,
        checkpoint_save_objects={"rng": np.random.default_rng(1)}, print_func=lambda line: None,
        **options,
    ) as loop:  # fmt: skip
        for _ in loop.iter_epochs():
            for _ in loop.iter_steps([1, 2, 3, 4]):
                params["w"] += 1
                loop.collect_metrics(loss=float(params["w"][0]))
    return params


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Give a folder with the checkpoints of three epochs."""
    folder = tmp_path_factory.mktemp("trained") / "c"
    train(folder, TrainingLog(), 3)
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "c")
    return CheckpointFolder(tmp_path / "c")


def newest(folder):
    """Return what is gone on from: its step and all of its state, as text; and what was said."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = folder.newest(check)
    facts = {name: value for name, value in found.facts.items() if name != "format"}
    return found.facts["step"], repr((found.path.name, facts, found.trees)), len(said)


def last(folder):
    return folder.path / folder.names()[-1]


def test_no_bit_of_a_manifest_can_be_another_in_silence(folder):
    manifest = last(folder) / "manifest.json"
    content = manifest.read_bytes()
    step, state, said = newest(folder)
    assert (step, said) == (12, 0)
    chance = random.Random(1)
    places = {
        *range(60),
        *range(len(content) - 60, len(content)),
        *chance.sample(range(60, len(content) - 60), 400),
    }
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << chance.randrange(8)
        manifest.write_bytes(flipped)
        assert newest(folder)[::2] == (8, 1), (place, flipped[max(0, place - 20) : place + 20])
    for size in (0, 1, len(content) // 2, len(content) - 1, len(content) - 21):
        manifest.write_bytes(content[:size])
        assert newest(folder)[::2] == (8, 1)
    for more in (b" ", b"\0", content):
        manifest.write_bytes(content + more)
        assert newest(folder)[::2] == (8, 1)
    manifest.write_bytes(content)
    assert newest(folder) == (step, state, said)


def reseal(checkpoint, change, number=2):
    """Change a manifest as whoever knows the format could; of format 1 anybody."""
    manifest = json.loads((checkpoint / "manifest.json").read_bytes())
    manifest.pop("crc32", None)
    manifest["format"] = number
    manifest = change(manifest) or manifest
    content = sealed(manifest) if number > 1 else json.dumps(manifest).encode()
    (checkpoint / "manifest.json").write_bytes(content)


def replace_part(checkpoint, content):
    """Put another content in the place of a part, with a manifest that says so."""
    (checkpoint / "part-0.npz").write_bytes(content)

    def change(manifest):
        manifest["parts"]["now"] |= {"bytes": len(content), "crc32": zlib.crc32(content)}

    reseal(checkpoint, change)


def archive(content, compression=zipfile.ZIP_STORED, name="array-{}.npy", count=None):
    """Return an archive as a part has it, every array of the same content."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", compression) as file:
        for place in range(ARRAYS if count is None else count):
            file.writestr(name.format(place), content)
    return made.getvalue()


ARRAYS = 2  # of the last checkpoint: the parameters, and the state of NumPy's generator


def header(shape, dtype="<f8"):
    """Return a .npy file that claims a shape and has eight bytes."""
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        made, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return made.getvalue() + bytes(8)


def hole(path):
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**33)


def swap(path, make):
    path.unlink()
    make(path)


def bound(path):
    here = Path.cwd()
    os.chdir(path.parent)  # a path of a socket may have a hundred bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def parts(change):
    return lambda at: reseal(at, lambda manifest: manifest["parts"]["now"].update(change))


def text(content):
    return lambda at: (at / "manifest.json").write_bytes(content)


ODD = {
    "a pipe as manifest": lambda at: swap(at / "manifest.json", os.mkfifo),
    "a pipe as part": lambda at: swap(at / "part-0.npz", os.mkfifo),
    "a folder as manifest": lambda at: swap(at / "manifest.json", Path.mkdir),
    "a folder as part": lambda at: swap(at / "part-0.npz", Path.mkdir),
    "a socket as part": lambda at: swap(at / "part-0.npz", bound),
    "a link to nothing": lambda at: swap(at / "part-0.npz", lambda path: path.symlink_to("no")),
    "a link to itself": lambda at: swap(
        at / "part-0.npz", lambda path: path.symlink_to("part-0.npz")
    ),
    "a link to a device without end": lambda at: swap(
        at / "part-0.npz", lambda path: path.symlink_to("/dev/zero")
    ),
    "a manifest that is a device": lambda at: swap(
        at / "manifest.json", lambda path: path.symlink_to("/dev/zero")
    ),
    "a link to another part": lambda at: swap(
        at / "part-0.npz", lambda path: path.symlink_to("../checkpoint-000001-step-4/part-0.npz")
    ),
    "a hole as manifest": lambda at: hole(at / "manifest.json"),
    "a hole as part": lambda at: hole(at / "part-0.npz"),
    "a way out": parts({"file": "../checkpoint-000001-step-4/part-0.npz"}),
    "a path": parts({"file": "/dev/zero"}),
    "a name with a NUL": parts({"file": "part-0.npz\0"}),
    "arrays without number": parts({"arrays": 10**12}),
    "fewer arrays": parts({"arrays": 1}),
    "no count": parts({"arrays": True}),
    "bytes without number": parts({"bytes": 10**15}),
    "a negative size": parts({"bytes": -1}),
    "a huge array": lambda at: replace_part(at, archive(header((10**13,)))),
    "an array too many times": lambda at: replace_part(at, archive(header((2**40, 2**40)))),
    "an array that is too short": lambda at: replace_part(at, archive(header((3,)))),
    "an array of objects": lambda at: replace_part(at, archive(header((1,), "|O"))),
    "packed zeros": lambda at: replace_part(
        at, archive(header((2**27,))[:-8] + bytes(2**30 // 16), zipfile.ZIP_DEFLATED)
    ),
    "other members": lambda at: replace_part(at, archive(header((1,)), name="x{}.npy")),
    "more members": lambda at: replace_part(at, archive(header((1,)), count=50)),
    "no archive": lambda at: replace_part(at, b"PK" * 100),
    "nothing": text(b""),
    "a list": text(b"[]"),
    "a number": text(b"1"),
    "nested without end": text(b"[" * 10**6),
    "nested objects": text(b'{"format": 1, "training": "a", "parts": {}, "trees": {"now": '
                           + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"}}"),
    "bytes that are no text": text(b"\xff\xfe\x00"),
    "NaN": text(b'{"format": NaN}'),
    "a number of a million digits": text(b'{"format": ' + b"9" * 10**6 + b"}"),
    "a text as format": lambda at: reseal(at, lambda m: m | {"format": "1"}),
    "true as format": lambda at: reseal(at, lambda m: m | {"format": True}),
    "no trees": lambda at: reseal(at, lambda m: m | {"trees": {}}),
    "trees as a list": lambda at: reseal(at, lambda m: m | {"trees": []}),
    "an unknown tag": lambda at: reseal(
        at, lambda m: m["trees"]["now"].update(params={"$what": 1})
    ),
    "an array of another place": lambda at: reseal(
        at, lambda m: m["trees"]["now"].update(params={"w": {"$array": -1}})
    ),
    "an array out of range": lambda at: reseal(
        at, lambda m: m["trees"]["now"].update(params={"w": {"$array": 10**9}})
    ),
    "bad base64": lambda at: reseal(
        at, lambda m: m["trees"]["now"].update(params={"w": {"$bytes": 5}})
    ),
    "random states of another kind": lambda at: reseal(
        at, lambda m: m["trees"]["now"]["random"].update(python=[1, 2])
    ),
    "a counter below zero": lambda at: reseal(
        at, lambda m: m["trees"]["now"]["loop"].update(step=-1)
    ),
    "a file in its place": lambda at: (shutil.rmtree(at), at.write_bytes(b"x")),
    "a pipe in its place": lambda at: (shutil.rmtree(at), os.mkfifo(at)),
    "a link to nothing in its place": lambda at: (shutil.rmtree(at), at.symlink_to("no")),
    "an empty folder": lambda at: (shutil.rmtree(at), at.mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("what", ODD)
def test_odd_things_are_passed_over_with_a_warning(folder, what):
    """And so they are when the next checkpoints are made, and older ones removed."""
    ODD[what](last(folder))
    step, _, said = newest(folder)
    assert (step, said) == (8, 1)
    training = json.loads((folder.path / folder.names()[0] / "manifest.json").read_text())
    writer = CheckpointFolder(folder.path, keep=1)
    writer.write(training["training"], 16, {"step": 16}, {"now": {}})
    assert folder.names()[-1] == "checkpoint-000004-step-16"


def test_a_program_goes_on_from_the_one_before(folder):
    """In a process of its own: a pipe, once opened, would keep it for ever."""
    ODD["a pipe as part"](last(folder))
    program = (
        "import sys, numpy as np\n"
        # Whose random state is in the checkpoint, if it was loaded when that was made.
        f"{'import torch' if 'torch' in sys.modules else ''}\n"
        "from traininglog.loop.checkpoint.folder import CheckpointFolder\n"
        "from traininglog.loop.checkpoint.checks import check\n"
        "print(CheckpointFolder(sys.argv[1]).newest(check).facts['step'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder.path], capture_output=True, text=True,
        timeout=GUARD, check=True,
    )  # fmt: skip
    assert done.stdout == "8\n"
    assert "cannot be read: it is a pipe; the one before it is taken" in done.stderr


def test_parts_may_be_links_to_where_they_are_kept(folder, tmp_path):
    """Tools that keep large files apart put links in their place."""
    state = newest(folder)
    for name in ("manifest.json", "part-0.npz"):
        kept = tmp_path / f"kept-{name}"
        (last(folder) / name).rename(kept)
        (last(folder) / name).symlink_to(kept)
    assert newest(folder) == state


def other_values(value):
    """Give values of other kinds, as a hand or a flipped bit makes them."""
    yield from (None, True, -1, 10**30, 1.5, "", "x", [], [None], {}, {"x": 1}, {"$tuple": 1})
    if isinstance(value, list):
        yield value[:-1]
        yield [*value, value]
    if isinstance(value, dict):
        yield {"$dict": value}


def places(tree, path=()):
    """Give the paths to what is in a tree; of long lists only to the ends."""
    yield path
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from places(value, (*path, key))
    elif isinstance(tree, list):
        for place in {0, len(tree) - 1} if tree else ():
            yield from places(tree[place], (*path, place))


def changed(tree, path, value):
    made = copy.deepcopy(tree)
    inner = made
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return made


def test_whatever_a_manifest_of_format_1_says_it_is_read_or_refused(tmp_path):
    """It has no checksum: another shape of it must be noticed before anything is restored."""
    shutil.copytree(FORMAT_1, tmp_path / "c")
    folder = CheckpointFolder(tmp_path / "c")
    path = last(folder) / "manifest.json"
    manifest = json.loads(path.read_bytes())
    tried = refused = 0
    for place in places(manifest):
        if not place or place[0] in ("made", "version", "run"):
            continue
        value = manifest
        for step in place:
            value = value[step]
        for other in other_values(value):
            path.write_text(json.dumps(changed(manifest, place, other)))
            tried += 1
            try:
                found = folder.read(path.parent, check)
            except CheckpointDamaged:
                refused += 1
            except CheckpointUnusable as error:
                assert "upgrade traininglog" in str(error), (place, other)  # noqa: PT017
            else:  # then it can be gone on from
                _go_on(found)
    assert refused > tried / 2


def _go_on(found):
    """Do with a moment what a loop does with it."""
    from traininglog.loop.measures.metrics import Metrics
    from traininglog.loop.states import randomness

    moment = found.trees["now"]
    before = random.getstate(), np.random.get_state()
    try:
        randomness.restore(moment["random"], {})
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
    metrics = Metrics()
    metrics.set_state(moment["loop"]["metrics"])
    for stretch in Metrics.STRETCHES:
        metrics.statistics(stretch)
    assert isinstance(moment["objects"], dict)
    assert moment["loop"]["step"] + moment["loop"]["epoch"] >= 0


def test_checkpoints_of_format_1_are_gone_on_from(tmp_path):
    """Such as older versions made in the middle of an epoch: they stay readable for ever."""
    shutil.copytree(FORMAT_1, tmp_path / "c")
    log = SQLiteLog(tmp_path / "runs.db")
    for step in range(1, 10):
        log[step]["loss"] = 0.0
    path = tmp_path / "c" / "checkpoint-000002-step-9" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["format"] == 1
    for moment in (manifest["trees"]["now"], manifest["trees"]["best"]["moment"]):
        moment["log"]["uuid"] = log.h_uuid  # of a run that is in this store
    path.write_text(json.dumps(manifest))
    params, rng, seen = {"w": np.zeros(3)}, np.random.default_rng(2), []

    def data():
        order = list(range(6))
        np.random.shuffle(order)
        yield from order

    with SQLiteLog(tmp_path / "runs.db") as again, TrainLoop(
        params, log=again, max_epoch=3, checkpoint_dir=tmp_path / "c", print_func=lambda line: None,
        early_stopping=True, valid_metric_name="v", checkpoint_save_objects={"rng": rng},
    ) as loop:  # fmt: skip
        assert (loop.epoch, loop.step, loop.best_valid_metric) == (2, 9, 1.0)
        for _ in loop.iter_epochs():
            for step, x in loop.iter_steps(data):
                params["w"] += x
                seen.append(x)
                loop.collect_metrics(loss=float(x))
                assert step > 9
    assert len(seen) == 9
    assert sum(seen[3:]) == 15
    log.close()


def test_what_is_no_folder_is_told_at_entering(tmp_path):
    (tmp_path / "c").write_text("notes")
    with pytest.raises(CheckpointUnusable, match=r"is no folder.*name another checkpoint_dir"):
        train(tmp_path / "c", TrainingLog(), 1)


def test_a_damaged_one_that_was_named_is_an_error(folder):
    ODD["a way out"](last(folder))
    with pytest.raises(CheckpointDamaged, match="is not the name of a part"):
        train(folder.path, TrainingLog(), 4, restore_checkpoint=last(folder))
    with pytest.warns(TrainingLogWarning, match="the one before it is taken"):
        assert folder.newest(check).facts["step"] == 8
