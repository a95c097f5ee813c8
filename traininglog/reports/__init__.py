"""A report: experiments compared on one page that needs nothing else, neither network nor server.

`Store.report` and ``traininglog report`` write one.
"""

from traininglog.reports.page import page
from traininglog.reports.wanted import ManyRuns, Wanted
from traininglog.reports.writing import write

__all__ = ["ManyRuns", "Wanted", "page", "write"]
