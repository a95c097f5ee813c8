"""Projects, groups, trials and their logs in one JSON document, for small experiments."""

from traininglog.jsonfile.trials import FileTrials

__all__ = ["FileTrials"]
