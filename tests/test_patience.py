"""No test takes a busy machine for a slow program.

What a program is to take is measured by what it used of a processor. What must come about is waited
for, with one guard against hanging, which is long. Whether somebody waits for somebody else is told
by who goes first, or by a patience that is longer than the guard.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [
    file.relative_to(TESTS)
    for file in sorted(TESTS.rglob("*.py"))
    if file.name not in ("patience.py", "pythons.py")  # the guard, and a script of its own
]

CLOCKS = {"monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time"}


def number(node):
    """Return what a literal number is, or a product of some; None of anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.BinOp):
        left, right = number(node.left), number(node.right)
        return None if left is None or right is None else max(left, right)
    return None


def name(call):
    return getattr(call.func, "attr", getattr(call.func, "id", None))


def is_time_since(node):
    return (
        isinstance(node, ast.BinOp)
        and isinstance(node.op, ast.Sub)
        and isinstance(node.left, ast.Call)
        and name(node.left) in CLOCKS
    )


def limits(source):
    """Give the lines in which something is to be done within so many seconds by the clock."""
    for node in ast.walk(ast.parse(source)):
        found = False
        if isinstance(node, ast.Call):
            given = [each.value for each in node.keywords if each.arg == "timeout"]
            if name(node) in ("wait", "join"):
                given += node.args[:1]
            found = any((number(each) or 0) >= 1 for each in given)
        elif isinstance(node, ast.Compare) and is_time_since(node.left):
            below = isinstance(node.ops[0], (ast.Lt, ast.LtE))
            found = below and number(node.comparators[0]) is not None
        if found:
            yield node.lineno


@pytest.mark.parametrize("file", FILES, ids=str)
def test_there_is_no_limit_by_the_clock_but_the_guard(file):
    lines = list(limits((TESTS / file).read_text(encoding="utf-8")))
    assert not lines, f"tests/{file}, lines {lines}: use tests/patience.py, or time.process_time"


def test_which_are_limits():
    """Of the look itself: what it finds, and what it lets through."""
    assert list(limits("process.communicate(timeout=60)")) == [1]
    assert list(limits("process.wait(30)\nthread.join(timeout=2 * 5)")) == [1, 2]
    assert list(limits("assert time.monotonic() - begin < 10")) == [1]
    for fine in (
        "process.communicate(timeout=GUARD)", "over.wait(0.01)", "', '.join(names)",
        "sqlite3.connect(path, timeout=0)", "assert time.monotonic() - begin > 0.3",
        "assert time.process_time() - begin < 10",
    ):  # fmt: skip
        assert list(limits(fine)) == [], fine
