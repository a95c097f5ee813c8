"""What all tests share."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "default",
    deadline=None,  # machines are shared and noisy: a slow example is not a wrong one
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("default")


# Tests that are started in the background, or by nohup, ignore signals that some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def always_sealing(monkeypatch):
    """Have logs seal after every few writes, as long as the test runs."""
    from sealing_often import seal_often

    seal_often(monkeypatch.setattr)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(tmp_path_factory, monkeypatch):
    """Keep the settings of whoever runs the tests, and files in their folder, out of them."""
    for name in list(os.environ):
        if name.startswith("TRAININGLOG_"):
            monkeypatch.delenv(name)
    for name in ("COLUMNS", "LINES"):  # of whose terminal, and not of those that tests make
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))
