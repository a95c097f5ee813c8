"""All stores and a model agree, whatever one does to them."""

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

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


def open_and_seal(folder, uuid):
    log = SQLiteLog(folder / "runs.db", uuid)
    log.seal()
    return log


def test_they_agree_where_whatever_is_flushed_is_sealed(always_sealing):
    machine = log_machine(
        {
            "sealing": open_file,
            "sealing, reopened after every step": open_and_seal,
        },
        reopened=["sealing, reopened after every step"],
    )
    run_state_machine_as_test(machine, settings=settings(max_examples=30, stateful_step_count=25))
