"""Copying all trials of one store into another, metrics included."""

from __future__ import annotations

from traininglog.trials.records import going_through
from traininglog.trials.store import TrialStore


def copy_all(source: TrialStore, target: TrialStore) -> int:
    """Copy what `target` does not have, and return how many trials that were.

    A copied log is a single run: what the trial sees, without the history of its resumes.
    """
    copied = 0
    for kind in ("project", "group", "environment", "trial"):
        with going_through(source.records.select(kind, {})) as found:
            records = list(found)
        for record in records:
            if target.records.get(kind, record["uid"]) is not None:
                continue
            new = dict(record)
            if record.get("log") is not None:
                with (
                    source.records.open_log(record["log"], readonly=True) as old,
                    target.records.new_log() as log,
                ):
                    log.update(old.to_dict())
                    log.status.update(
                        {key: value for key, value in old.status.items() if key != "resumed_from"}
                    )
                    new["log"] = log.h_uuid
            target.records.insert(kind, new)
            copied += kind == "trial"
    return copied
