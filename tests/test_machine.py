"""All stores and a model agree, whatever one does to them."""

from hypothesis import settings

from traininglog import SQLiteLog, TrainingLog
from traininglog.testing import log_machine


def open_file(folder, uuid):
    return SQLiteLog(folder / "runs.db", uuid)


TestAgreement = log_machine(
    {
        "memory": lambda folder, uuid: TrainingLog(uuid),
        "sqlite": open_file,
        "sqlite, reopened after every step": open_file,
    },
    reopened=["sqlite, reopened after every step"],
).TestCase
TestAgreement.settings = settings(max_examples=60, stateful_step_count=25)
