"""Groups of runs with the same configuration: how their metrics differ within a group."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from traininglog.confidence import spread
from traininglog.errors import BadQuery
from traininglog.query.evaluation import check_name, rank
from traininglog.query.expression import Named
from traininglog.query.names import MISSING, fact_of
from traininglog.run_info import RunInfo

#: Which number of a run stands for it in its group.
Of = Literal["last", "best", "min", "max"]


@dataclass(frozen=True, slots=True)
class GroupStatistics:
    """The numbers of one metric in a group. None: there are too few for it.

    NaN and infinities are counted, and enter nothing else.
    """

    n: int  #: how many runs have a finite number
    missing: int  #: how many have none at all
    non_finite: int  #: how many have NaN or an infinity
    mean: float | None
    std: float | None  #: the standard deviation of the sample, over n - 1; None for one run
    sem: float | None  #: the standard error of the mean, std / sqrt(n)
    least: float | None
    greatest: float | None
    #: Half of the width of the 95% confidence interval of the mean, by Student's t with n - 1
    #: degrees of freedom.
    ci95: float | None

    def by_name(self) -> dict[str, float | None]:
        """Return the numbers as tables and exports call them."""
        return {
            "n": self.n, "mean": self.mean, "std": self.std, "sem": self.sem, "min": self.least,
            "max": self.greatest, "ci95": self.ci95, "missing": self.missing,
            "non_finite": self.non_finite,
        }  # fmt: skip


def check_of(of: str) -> None:
    """Raise `ValueError` unless it says which number of a run counts."""
    if of not in get_args(Of):
        raise ValueError(f"of must be one of {', '.join(get_args(Of))}, not {of!r}")


@dataclass(frozen=True, slots=True)
class Group:
    """The runs that have the same values of what they are grouped by."""

    #: The values, by their names; None where the runs have none.
    by: Mapping[str, Any]
    runs: tuple[RunInfo, ...]
    #: By key.
    metrics: Mapping[str, GroupStatistics]

    @property
    def n(self) -> int:
        """The number of runs."""
        return len(self.runs)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the statistics of the first metrics."""
        from traininglog.markup.notebook_cells import MOST_LINES, lines_cell

        shown = list(self.metrics.items())[:MOST_LINES]
        lines = [
            [
                key[:60],
                each.n,
                *(
                    "" if number is None else number
                    for number in (each.mean, each.ci95, each.std, each.least, each.greatest)
                ),
            ]
            for key, each in shown
        ]
        told = ", ".join(f"{name} {value}"[:100] for name, value in self.by.items())
        heads = ["metric", "n", "mean", "± 95%", "std", "min", "max"]
        left = len(self.metrics) - len(shown)
        return lines_cell(f"{self.n} experiments: {told}", heads, lines, left, "metric")


def grouped(
    infos: Sequence[RunInfo], by: Sequence[Named], keys: Iterable[str], of: Of = "last"
) -> list[Group]:
    """Return runs in groups, sorted by what they are grouped by.

    Args:
        infos: The runs, with the last values and extremes of the keys.
        by: What to group by. Runs without such a fact are a group, the last one.
        keys: The metrics.
        of: Which number of a run counts.

    Raises:
        BadQuery: No run has one of the names, or no run says which number of a key is best.

    """
    for name in by:
        if infos:
            check_name(name, infos, str(name))
    found: dict[tuple[object, ...], list[RunInfo]] = {}
    for info in infos:
        values = tuple(_plain(_there(info, name)) for name in by)
        found.setdefault(values, []).append(info)
    chosen = list(keys)
    if of == "best":
        for key in chosen:
            if infos and not any(key in info.goals for info in infos):
                raise BadQuery(
                    f"no run says which {key!r} is best: declare it by log.goal({key!r}, 'max'), "
                    "or ask for min or max"
                )
    ordered = sorted(found.items(), key=lambda item: [rank(value) for value in item[0]])
    return [
        Group(
            {str(name): _there(runs[0], name) for name in by},
            tuple(runs),
            {key: _statistics([_number(run, of, key) for run in runs]) for key in chosen},
        )
        for _, runs in ordered
    ]


def _there(info: RunInfo, name: Named) -> Any:
    """Return a fact of a run, None where it has none."""
    found = fact_of(info, name)
    return None if found is MISSING else found


def with_numbers(groups: Sequence[Group]) -> list[Group]:
    """Return groups without the metrics that are a number in none of them."""
    keys = {key for group in groups for key, found in group.metrics.items() if found.n}
    keys |= {key for group in groups for key, found in group.metrics.items() if found.non_finite}
    return [
        replace(group, metrics={k: v for k, v in group.metrics.items() if k in keys})
        for group in groups
    ]


def _plain(value: object) -> object:
    """Return a value that can be a key of a dict: 1 and True apart, NaN equal to itself."""
    if isinstance(value, float) and math.isnan(value):
        return math.nan  # one object, which a dict takes for equal to itself
    return repr(value) if isinstance(value, (bool, dict, list)) else value


def _number(info: RunInfo, of: Of, key: str) -> float | None:
    """Return the number of a run that counts, or None."""
    value = fact_of(info, Named(of, key))
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def _statistics(numbers: Sequence[float | None]) -> GroupStatistics:
    there = [number for number in numbers if number is not None]
    finite = [number for number in there if math.isfinite(number)]
    n = len(finite)
    missing, non_finite = len(numbers) - len(there), len(there) - n
    if not n:
        return GroupStatistics(0, missing, non_finite, None, None, None, None, None, None)
    found = spread(finite)
    return GroupStatistics(
        n, missing, non_finite, found.mean, found.std, found.sem, min(finite), max(finite),
        found.ci95,
    )  # fmt: skip
