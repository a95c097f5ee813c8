"""Questions about runs: which, in which order, in which groups.

An expression such as ``config.lr < 0.1 and state == "finished"`` is parsed, and never evaluated as
Python. ``docs/guide/comparing.md`` describes the language.
"""

from traininglog.query.names import MISSING, fact_of
from traininglog.query.parser import parse, parse_name
from traininglog.query.question import Question
from traininglog.run_info import RunInfo

__all__ = ["MISSING", "Question", "parse", "value_of"]


def value_of(info: RunInfo, name: str) -> object:
    """Return a fact of a run by its name, and `MISSING` where the run has none.

    Args:
        info: The run. It has the last values and the extremes of the keys that were asked for.
        name: Such as ``config.optim.lr``, ``last["train/loss"]``, ``state``.

    Raises:
        BadQuery: The text is no name.

    """
    return fact_of(info, parse_name(name))
