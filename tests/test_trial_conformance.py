"""Every store for trials passes the suite that is shipped for others."""

import pytest

from traininglog.jsonfile import FileTrials
from traininglog.jsonfile.log import FileLog
from traininglog.memory.trials import MemoryTrials
from traininglog.sqlite.trials import SQLiteTrials
from traininglog.testing import LogConformance, TrialConformance
from traininglog.trials import Multiplexer, TrialStore


class TestMemory(TrialConformance):
    @pytest.fixture
    def open_store(self):
        records = MemoryTrials()  # it lives as long as somebody holds it
        return lambda: TrialStore(records)


class TestSQLite(TrialConformance):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: TrialStore(SQLiteTrials(tmp_path / "runs.db"))


class TestFile(TrialConformance):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: TrialStore(FileTrials(tmp_path / "report.json"))


class TestMultiplexer(TrialConformance):
    @pytest.fixture
    def open_store(self, tmp_path):
        return lambda: Multiplexer(f"file:{tmp_path / 'report.json'}", tmp_path / "runs.db")


class TestFileLog(LogConformance):
    """The logs of the JSON document keep the contract of every log."""

    @pytest.fixture
    def open_log(self, tmp_path):
        def open_log(uuid=None, **options):
            records = FileTrials(tmp_path / "report.json")
            limit = options.pop("max_value_bytes", None)
            log = FileLog(records._document, uuid, **options)
            log._max_value_bytes = limit or log._max_value_bytes
            return log

        return open_log
