"""Using the command line in tests."""

from typer.testing import CliRunner

from traininglog import Store
from traininglog.cli.app import app


def run(*arguments, status=0, **options):
    """Run a command, which must end with this status; a mistake, with one plain line."""
    result = CliRunner().invoke(app, [str(word) for word in arguments], **options)
    assert result.exit_code == status, (result.output, result.stderr, result.exception)
    if status == 1 and arguments[0] != "check":  # whose status 1 is an answer
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("traininglog: ")
    return result


def uuids(path):
    """Return the UUIDs of the runs in a store, the oldest first."""
    with Store(path, readonly=True) as store:
        return list(store.runs(heads=False)["uuid"])
