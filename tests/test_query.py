"""The language in which runs are asked for: `where`, `sort`, groups."""

import contextlib
import json
import math
import operator
import statistics
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traininglog import SQLiteLog, Store
from traininglog.columns import Point
from traininglog.confidence import student
from traininglog.errors import BadQuery
from traininglog.query import MISSING, Question, parse, value_of
from traininglog.query.expression import (
    Comparison,
    Conjunction,
    Constant,
    Disjunction,
    Likeness,
    Membership,
    Named,
    Negation,
    Truth,
)
from traininglog.query.words import LONGEST
from traininglog.run_info import RunInfo


def run(number=1, **facts):
    """Return the facts of a run without a store."""
    given = {
        "uuid": UUID(int=number), "name": f"run-{number}", "state": "finished",
        "created": datetime(2026, 1, number, tzinfo=UTC), "updated": None, "host": "node",
        "resumed_from": None, "resumed_at": None, "first_time": 1, "last_time": 10,
        "rows": 10, "values": 20,
    }  # fmt: skip
    return RunInfo(**given | facts)


def holds(text, *runs):
    """Return the numbers of the runs for which an expression holds."""
    return [info.uuid.int for info in Question(text).answer(runs)]


RUNS = (
    run(1, config={"lr": 0.1, "optim": {"name": "adam"}}, tags={"base": True}, groups=("a", "b")),
    run(2, config={"lr": 0.01, "optim": {"name": "sgd"}}, state="failed", notes="diverged"),
    run(3, config={"lr": None}, tags={"seed": 3, "base": False}, archived=True),
)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("config.lr < 0.1", [2]),
        ("config.lr <= 0.1", [1, 2]),
        ("0.01 < config.lr <= 0.1", [1]),
        ("config['lr'] == 0.1 or state == 'failed'", [1, 2]),
        ("config.optim.name == 'adam'", [1]),
        ("config.lr != 0.1", [2]),
        ("config.lr == none", [3]),
        ("config.lr != none", [1, 2]),
        ("not config.lr == 0.1", [2, 3]),
        ("state in ('failed', 'lost')", [2]),
        ("state not in ('failed', 'lost',)", [1, 3]),
        ("'base' in tags", [1, 3]),
        ("'optim.name' in config", [1, 2]),
        ("'b' in groups", [1]),
        ("tags.base", [1]),
        ("not tags.base", [2, 3]),
        ("tags.base == false", [3]),
        ("archived", [3]),
        ("name like 'run-[12]'", [1, 2]),
        ("notes like '*verg*'", [2]),
        ("created >= '2026-01-02'", [2, 3]),
        ("created < '2026-01-01 12:00'", [1]),
        ("created == '2026-01-02T01:00+01:00'", [2]),
        ("rows == 10 and values > 5 and last < 11 and first == 1", [1, 2, 3]),
        ("uuid like '*2'", [2]),
        ("state == 'finished' and (config.lr == none or config.lr > .05)", [1, 3]),
    ],
)
def test_an_expression_holds_for_the_runs_that_it_says(text, numbers):
    assert holds(text, *RUNS) == numbers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a name, a number or a text in quotes is expected here, at character 1"),
        ("config.lr <", r"expected here, at character 12: config.lr <>>>\(the end\)"),
        ("config.lr < and state == 'lost'", "expected here, at character 13"),
        ("config.lr = 1", "write =="),
        ("state = 'lost'", "write =="),
        ("config.lr < 'a' 3", "and, or, or the end is expected here, at character 17"),
        ("(state == 'lost'", r"\) is expected here"),
        ("state == 'lost", "this quote is never closed"),
        ("rows $ 3", "this is no word, at character 6"),
        ("config.lr ; drop", "this is no word, at character 11"),
        ("__import__('os') == 'x'", "a run has no '__import__'"),
        ("lambda: 1", "this is no word"),
        ("stat == 'lost'", "did you mean state"),
        ("confg.lr == 1", "did you mean config.KEY"),
        ("min > 1", "min wants a key: min.KEY, or min"),
        ("state.x == 1", "a run has no 'state.x'"),
        ("config[3] == 1", "a text in quotes is expected here"),
        ("state == 'finishd'", "a state is one of running, finished, failed, lost"),
        ("state in ('finished', 'gone')", "a state is one of"),
        ("rows < 'many'", 'rows is a number, and cannot be compared with "many"'),
        ("max.acc > 'x'", "max.acc is a number"),
        ("name > 3", "name is a text"),
        ("archived == 1", "archived is a yes or no"),
        ("created > 3", "compared with a date"),
        ("created > 'yesterday'", "compared with a date"),
        ("rows < none", "none can only be compared by == and !="),
        ("rows", "is no yes or no"),
        ("3", "a comparison is expected here"),
        ("rows like 'a*'", "is no text"),
        ("name like 3", "like wants a text"),
        ("rows in config.lr", "in wants a list"),
        ("rows in (config.lr)", "a number or a text in quotes"),
        ("name == '\\q'", "an escape that is none"),
        ("rows > 1" + " and rows > 1" * 10_000, f"may have {LONGEST:,}"),
        ("(" * 5_000 + "rows > 1", "nested more than"),
        ("not " * 2_000 + "archived", "nested more than"),
    ],
)
def test_what_is_no_expression_is_an_error_that_points_at_the_place(text, said):
    with pytest.raises(BadQuery, match=said) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_where_has_to_be_a_text():
    with pytest.raises(TypeError, match="where is a text, not a int"):
        parse(3)


def test_a_name_that_no_run_has_is_an_error_that_names_near_ones():
    with pytest.raises(BadQuery, match=r"no run has config\.lrr; did you mean 'lr'\?"):
        holds("config.lrr < 1", *RUNS)
    with pytest.raises(BadQuery, match=r"no run has tags\.x; there are: 'base', 'seed'"):
        holds("state == 'lost' and tags.x == 1", *RUNS)
    assert holds("config.lrr < 1") == [], "where there are no runs, nothing is wrong"


def test_to_order_a_text_and_a_number_is_an_error_that_names_the_run():
    runs = run(1, config={"lr": 0.1}), run(2, config={"lr": "auto"})
    with pytest.raises(BadQuery, match=r"config\.lr is a text in run 00000000, .* with a number"):
        holds("config.lr < 0.5", *runs)
    assert holds("config.lr != 'auto' and config.lr < 0.5", *runs) == [1]
    assert holds("config.lr == 0.1", *runs) == [1]
    assert holds("config.lr == 'auto'", *runs) == [2]


def test_an_equality_that_could_hold_for_no_run_is_an_error():
    with pytest.raises(BadQuery, match=r"config\.lr is a number in run"):
        holds("config.lr == '0.1'", run(1, config={"lr": 0.1}), run(2, config={"lr": 0.2}))


def test_nan_is_unequal_to_everything_and_can_be_asked_for():
    runs = run(1, last={"x": Point(1, math.nan)}), run(2, last={"x": Point(1, 2.0)}), run(3)
    assert holds("last.x < 5", *runs) == [2]
    assert holds("last.x == nan", *runs) == [1]
    assert holds("last.x != nan", *runs) == [2]
    assert holds("last.x in (nan, 2)", *runs) == [1, 2]
    assert holds("last.x < inf", *runs) == [2]
    assert holds("last.x == none", *runs) == [3]


def test_the_best_needs_to_be_declared():
    extremes = {"least": {"acc": 0.5}, "greatest": {"acc": 0.9}}
    runs = run(1, goals={"acc": "max"}, **extremes), run(2, goals={"acc": "min"}, **extremes)
    assert holds("best.acc == 0.9", *runs) == [1]
    assert holds("best.acc == 0.5", *runs) == [2]
    with pytest.raises(BadQuery, match=r"log\.goal\('acc', 'max'\)"):
        holds("best.acc > 0.1", run(1, **extremes))


def test_runs_are_sorted_by_kinds_with_those_that_lack_the_fact_last():
    values = [3, math.nan, "text", None, 1.5, True, "a", 2]
    runs = [run(number, config={"x": value}) for number, value in enumerate(values, 1)]

    def order(*sort):
        return [info.uuid.int for info in Question(None, sort).answer([*runs, run(9)])]

    assert order("config.x") == [5, 8, 1, 6, 7, 3, 2, 4, 9]
    assert order("-config.x") == [1, 8, 5, 6, 3, 7, 2, 4, 9]
    assert order("state", "-name") == [9, 8, 7, 6, 5, 4, 3, 2, 1]
    with pytest.raises(BadQuery, match="no run has"):
        order("config.y")


def test_a_fact_of_a_run_is_read_by_its_name():
    info = RUNS[0]
    assert value_of(info, "config.lr") == 0.1
    assert value_of(info, "config.optim") == {"name": "adam"}
    assert value_of(info, 'config["optim.name"]') == "adam"
    assert value_of(info, "config.none") is MISSING
    assert value_of(info, "uuid") == info.uuid.hex
    assert value_of(info, "notes") is MISSING


# -- properties -------------------------------------------------------------------------------

numbers = st.one_of(st.integers(-100, 100), st.floats(allow_nan=False, width=32))
texts = st.text(max_size=5)
constants = st.one_of(numbers, texts, st.booleans()).map(Constant)
named = st.builds(Named, st.just("config"), st.one_of(st.sampled_from("abc"), st.text(min_size=1)))
operators = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
simple = st.one_of(
    st.builds(Comparison, named, operators, constants),
    st.builds(Membership, named, st.lists(constants, min_size=1, max_size=3).map(tuple)),
    st.builds(Membership, constants, st.sampled_from([Named("tags"), Named("groups")])),
    st.builds(Likeness, named, texts),
    st.builds(Truth, named),
)


def joined(kind):
    """Return a strategy over parts that are not of the kind itself, as the parser makes them."""

    def of(parts):
        flat = [part for part in parts if not isinstance(part, kind)]
        return kind(tuple(flat)) if len(flat) > 1 else parts[0]

    return lambda inner: st.lists(inner, min_size=2, max_size=3).map(of)


expressions = st.recursive(
    simple,
    lambda inner: st.one_of(
        inner.map(Negation), joined(Conjunction)(inner), joined(Disjunction)(inner)
    ),
    max_leaves=6,
)


@given(expressions)
def test_an_expression_printed_and_parsed_is_the_same(expression):
    assert parse(str(expression)) == expression


@given(st.text(max_size=60))
def test_any_text_is_an_expression_or_a_bad_query(text):
    with contextlib.suppress(BadQuery):
        parse(text)


@given(
    st.lists(st.one_of(st.none(), st.integers(-3, 3)), max_size=8),
    operators, st.integers(-3, 3), operators, st.integers(-3, 3),
    st.sampled_from(["and", "or"]), st.booleans(),
)  # fmt: skip
def test_it_agrees_with_python(values, first, one, second, two, word, negated):
    compare = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "==": "eq", "!=": "ne"}
    runs = [
        run(number, config={} if value is None else {"x": value})
        for number, value in enumerate(values, 1)
    ]

    def right(value):
        parts = [
            value is not None and getattr(operator, compare[sign])(value, bound)
            for sign, bound in ((first, one), (second, two))
        ]
        answer = all(parts) if word == "and" else any(parts)
        return answer != negated

    text = f"config.x {first} {one} {word} config.x {second} {two}"
    text = f"not ({text})" if negated else text
    if all(value is None for value in values):
        runs = []
    expected = [info.uuid.int for info, value in zip(runs, values, strict=False) if right(value)]
    assert holds(text, *runs) == expected


# -- in a store -------------------------------------------------------------------------------


@pytest.fixture
def sweep(tmp_path):
    """Write 3 learning rates x 3 seeds; return the path and the final accuracies."""
    path, accuracies = tmp_path / "runs.db", {}
    for lr in (0.1, 0.01, 0.001):
        for seed in range(3):
            with SQLiteLog(path) as log:
                log.status.update(
                    name=f"lr{lr}-s{seed}", config={"optim": {"lr": lr}, "seed": seed},
                    goals={"val/acc": "max"},
                )  # fmt: skip
                for step in range(1, 6):
                    accuracy = step / 10 + seed / 100 - lr
                    log[step].update({"val/acc": accuracy, "loss": 1 / step, "phase": "train"})
                accuracies[lr, seed] = accuracy
    return path, accuracies


def test_a_store_answers_questions_in_both_forms(sweep):
    path, accuracies = sweep
    asked = {
        "where": "config.optim.lr < 0.1 and last.val/acc > 0.5",
        "sort": ['-last["val/acc"]', "name"],
    }
    best = sorted(
        (
            (accuracy, key)
            for key, accuracy in accuracies.items()
            if key[0] < 0.1 and accuracy > 0.5
        ),
        reverse=True,
    )
    with Store(path) as store:
        names = [info.name for info in store.iter_runs(**asked)]
        assert names == [f"lr{lr}-s{seed}" for _, (lr, seed) in best]
        assert list(store.runs(**asked)["name"]) == names
        assert list(store.runs(**asked, limit=2)["name"]) == names[:2], "the first, where sorted"
        latest = store.runs(where="config.seed == 1", limit=2)
        assert list(latest["name"]) == ["lr0.01-s1", "lr0.001-s1"], "else the latest"
        (info,) = store.iter_runs(where="max.val/acc >= best.val/acc and name == 'lr0.1-s2'")
        assert info.config == {"optim": {"lr": 0.1}, "seed": 2}
        with pytest.raises(BadQuery, match=r"no run has a key 'val/ac'; did you mean 'val/acc'"):
            list(store.iter_runs(where="last['val/ac'] > 1"))
        with pytest.raises(BadQuery):
            store.iter_runs(where="config.lr <")


def test_a_list_keeps_its_store_open(sweep):
    path, _ = sweep
    assert len([info.name for info in Store(path).iter_runs(where="config.seed == 0")]) == 3


def test_archived_runs_are_left_out_until_they_are_asked_for(sweep):
    path, _ = sweep
    with Store(path) as store:
        (info,) = store.iter_runs(where="name == 'lr0.1-s0'")
        with SQLiteLog(path, info.uuid) as log:
            log.status["archived"] = True
        assert len(store.runs()) == 8
        assert len(store.runs(archived=True)) == 9
        assert [each.name for each in store.iter_runs(where="archived", archived=True)] == [
            "lr0.1-s0"
        ]
        assert len(store.groups("state")) == 1


def test_groups_are_what_is_computed_by_hand(sweep):
    path, accuracies = sweep
    with Store(path) as store:
        frame = store.groups("config.optim.lr")
        groups = list(store.iter_groups("config.optim.lr", "val/acc", of="best"))
    assert list(frame["config.optim.lr"]) == [0.001, 0.01, 0.1]
    assert list(frame["n"]) == [3, 3, 3]
    assert "phase.mean" not in frame, "texts have no mean"
    for place, lr in enumerate((0.001, 0.01, 0.1)):
        values = [accuracies[lr, seed] for seed in range(3)]
        row = frame.loc[place]
        assert row["val/acc.n"] == 3
        assert row["val/acc.mean"] == pytest.approx(statistics.mean(values))
        assert row["val/acc.std"] == pytest.approx(statistics.stdev(values))
        assert row["val/acc.sem"] == pytest.approx(statistics.stdev(values) / math.sqrt(3))
        assert row["val/acc.ci95"] == pytest.approx(4.302652729911275 * row["val/acc.sem"])
        assert (row["val/acc.min"], row["val/acc.max"]) == (min(values), max(values))
        assert row["loss.std"] == 0
        assert groups[place].metrics["val/acc"].mean == pytest.approx(statistics.mean(values))
        assert groups[place].by == {"config.optim.lr": lr}


def test_what_is_missing_or_not_finite_in_a_group_is_told(tmp_path):
    path = tmp_path / "runs.db"
    for number, value in enumerate([1.0, math.nan, math.inf, None, 3.0, "text"]):
        with SQLiteLog(path) as log:
            log.status["config"] = {"lr": 1 if number < 5 else 2}
            log[1]["epoch"] = 1
            if value is not None:
                log[1]["x"] = value
    with Store(path) as store:
        first, second = store.iter_groups("config.lr", "x")
        found = first.metrics["x"]
        assert (first.n, found.n, found.missing, found.non_finite) == (5, 2, 1, 2)
        assert (found.mean, found.least, found.greatest) == (2.0, 1.0, 3.0)
        alone = second.metrics["x"]
        assert (alone.n, alone.missing, alone.mean, alone.std, alone.ci95) == (
            0,
            1,
            None,
            None,
            None,
        )
        frame = store.groups("config.lr", "x")
        assert math.isnan(frame["x.mean"][1])
        assert list(frame["x.non_finite"]) == [2, 0]
        assert store.groups("config.lr", "epoch")["epoch.std"].isna().tolist() == [False, True]


def test_runs_without_what_they_are_grouped_by_are_the_last_group(tmp_path):
    path = tmp_path / "runs.db"
    for config in ({"lr": 2, "on": True}, {}, {"lr": 1, "on": 1}, {"lr": 2, "on": 1}):
        with SQLiteLog(path) as log:
            log.status["config"] = config
            log[1]["x"] = 1.0
    with Store(path) as store:
        groups = list(store.iter_groups("config.lr", "x"))
        assert [(group.by["config.lr"], group.n) for group in groups] == [(1, 1), (2, 2), (None, 1)]
        both = [(group.by, group.n) for group in store.iter_groups(["config.on", "state"], "x")]
        assert [by["config.on"] for by, _ in both] == [1, True, None]
        assert [n for _, n in both] == [2, 1, 1], "1 and true are two things"


def test_bad_questions_about_groups_are_errors(sweep):
    path, _ = sweep
    with Store(path) as store:
        with pytest.raises(BadQuery, match=r"no run has config\.lr; did you mean 'optim\.lr'"):
            store.groups("config.lr")
        with pytest.raises(BadQuery, match=r"log\.goal\('loss', 'max'\)"):
            store.groups("config.optim.lr", "loss", of="best")
        with pytest.raises(ValueError, match="of must be one of last, best, min, max"):
            store.groups("config.optim.lr", of="mean")
        with pytest.raises(ValueError, match="nothing to group by"):
            store.groups([])
        with pytest.raises(KeyError, match="no run has a key 'acc'"):
            store.groups("state", "acc")


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (7, 2.365), (19, 2.093), (60, 2.000), (1000, 1.962)],
)
def test_the_quantiles_of_students_t_are_those_of_the_tables(freedom, quantile):
    assert student(freedom) == pytest.approx(quantile, abs=5e-4)


def test_texts_are_quoted_as_json_has_it():
    for text in ('say "hi"', "back\\slash", "näh\n\t", "'"):
        assert parse(f"name == {json.dumps(text)}").right == Constant(text)
    assert parse("""name == 'it\\'s "x"'""").right == Constant("""it's "x\"""")
