"""`traininglog show` draws the family of a run: its ancestors, and all that went on from those."""

from pathlib import Path
from uuid import UUID

import pytest
from command_line import run

from traininglog import SQLiteLog
from traininglog.cli.family_tree import MOST_ASIDE, FamilyTree
from traininglog.lineage import Ancestor
from traininglog.run_info import RunInfo


def resumed(path, uuid, *, at=None, variant=False, rows=3):
    """Resume a run, log some rows, and return the UUID of the new run."""
    with SQLiteLog(path, uuid=uuid) as log:
        if uuid is not None:
            log.resume(at=at, variant=variant)
        first = (log.last("loss").time + 1) if "loss" in log.keys_seen() else 1
        for time in range(first, first + rows):
            log[time]["loss"] = 1 / time
        return log.uuid


def tree(path, uuid):
    """Return the lines of the tree, without their indentation."""
    shown = run("show", uuid.hex, "--store", path).stdout.split("Lineage\n")[1].split("\n\n")[0]
    return [line[2:].rstrip() for line in shown.splitlines()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.db"


def named(lines, **names):
    """Replace UUIDs by names."""
    text = "\n".join(lines)
    for name, uuid in names.items():
        text = text.replace(uuid.hex[:8], name)
    return text.splitlines()


def test_resumes_and_variants_are_one_tree_seen_from_any_of_them(path):
    root = resumed(path, None, rows=10)
    child = resumed(path, root, at=9)
    variant = resumed(path, child, at=5, variant=True)
    newest = resumed(path, child)
    names = {"root": root, "child": child, "variant": variant, "newest": newest}
    assert named(tree(path, newest), **names) == [
        "root",
        "└─ child  resumed at 9",
        "   ├─ variant  branched at 5",
        "   └─ newest  resumed at 12  <- this run",
    ]
    assert named(tree(path, variant), **names) == [
        "root",
        "└─ child  resumed at 9",
        "   ├─ newest  resumed at 12",
        "   └─ variant  branched at 5  <- this run",
    ]
    assert named(tree(path, root), **names) == [
        "root  <- this run",
        "└─ child  resumed at 9",
        "   ├─ variant  branched at 5",
        "   └─ newest  resumed at 12",
    ]


def test_what_changed_in_the_config_at_a_resume_is_told(path):
    with SQLiteLog(path, config={"optim": {"lr": 0.1}, "seed": 3}) as log:
        log[1]["loss"] = 1.0
        root = log.uuid
    with SQLiteLog(path, root, resume=True, config={"optim": {"lr": 0.01}, "warm": "up"}) as log:
        log[2]["loss"] = 0.5
        child = log.uuid
    changes = "config: optim.lr 0.1 -> 0.01, seed 3 -> (none), warm (none) -> up"
    assert named(tree(path, child), root=root, child=child) == [
        "root",
        f"└─ child  resumed at 1  {changes}  <- this run",
    ]


def test_a_run_that_was_put_aside_can_be_shown_and_deleted(path):
    with SQLiteLog(path, name="old") as log:
        log[1]["loss"] = 1.0
    run("archive", "old", "--store", path)
    assert "old" in run("show", "old", "--store", path).stdout
    run("delete", "old", "--yes", "--store", path)
    assert "no runs yet" in run("runs", "--archived", "--store", path).stderr


def test_the_page_on_resuming_draws_what_the_command_draws(path):
    page = Path(__file__).parents[1] / "docs" / "guide" / "resuming.md"
    first = resumed(path, None, rows=1000)
    second, third = resumed(path, first, at=900), resumed(path, first, at=500, variant=True)
    lines = named(tree(path, second), RUN_1=first, RUN_2=second, RUN_3=third)
    drawing = "\n".join(f"  {line}" for line in lines)
    assert f"```text\n{drawing}\n```" in page.read_text(encoding="utf-8")


def test_a_run_without_relatives_is_one_line(path):
    alone = resumed(path, None)
    resumed(path, None)
    assert named(tree(path, alone), alone=alone) == ["alone"]


def test_a_long_lineage_is_cut_in_the_middle_and_what_goes_on_from_its_ends_is_shown(path):
    runs = [resumed(path, None)]
    for _ in range(30):
        runs.append(resumed(path, runs[-1]))
    early, late = (resumed(path, uuid, variant=True) for uuid in (runs[0], runs[-2]))
    lines = named(tree(path, runs[-1]), early=early, late=late)
    assert len(lines) == 12 + 1 + 2
    assert "… 19 more" in lines[3]
    assert lines[1].startswith("├─ early")
    assert lines[-2].endswith("late  branched at 90")
    assert lines[-1].endswith("<- this run")


def test_many_variants_are_counted_where_they_are_not_drawn(path):
    root = resumed(path, None)
    variants = [resumed(path, root, at=1, variant=True) for _ in range(MOST_ASIDE + 6)]
    resumed(path, variants[-1])
    lines = tree(path, root)
    assert len(lines) == 1 + 1 + MOST_ASIDE
    assert sum("branched" in line for line in lines) == MOST_ASIDE
    (more,) = [line for line in lines if "more" in line]
    assert more == "├─ … 7 more"


def info(uuid, resumed_from=None, part_of=None):
    return RunInfo(
        uuid, None, "finished", None, None, None, resumed_from, None, None, None, 0, 0,
        part_of=part_of,
    )  # fmt: skip


def drawn(lineage, *infos):
    """Return the lines of a tree, whose runs are called by the last digits of their UUIDs."""
    ancestors = [Ancestor(uuid, None) for uuid in lineage]
    branches = FamilyTree(ancestors, {each.uuid: each for each in infos}).branches()
    return [
        f"{line.lines}{line.run.int if line.run else f'{line.left_out} more'}" for line in branches
    ]


ONE, TWO, THREE = map(UUID, ("0" * 31 + digit for digit in "123"))


def test_an_ancestor_that_is_not_in_the_store_is_the_root():
    assert drawn([TWO, ONE], info(TWO, ONE), info(THREE, ONE)) == ["1", "├─ 3", "└─ 2"]


def test_a_part_stands_beside_what_it_accompanies():
    assert drawn([ONE], info(ONE), info(TWO, part_of=ONE)) == ["1", "└─ 2"]


def test_a_circle_of_a_damaged_file_is_drawn_once():
    circle = info(ONE, TWO), info(TWO, ONE), info(THREE, TWO)
    assert sorted(line[-1] for line in drawn([TWO, ONE], *circle)) == ["1", "2", "3"]
