"""TensorBoard's event files, read back; and Losswise's client against a server of our own."""

import gc
import json
import math
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from event_files import scalars
from patience import GUARD

from traininglog import MissingExtra
from traininglog.monitors import LosswiseMonitor, TensorBoardMonitor


class Writer:
    """What a writer needs to have."""

    def __init__(self):
        self.scalars = []

    def add_scalar(self, tag, value, step):
        self.scalars.append((tag, value, step))


# -- TensorBoard --------------------------------------------------------------------------------


def test_a_writer_may_be_handed_in():
    writer = Writer()
    monitor = TensorBoardMonitor(writer)
    with monitor.session(1):
        monitor.write(
            {
                "loss": np.float32(0.5), "model": {"norm": 2}, "ok": True, "note": "x", "n": None,
                "training_inputs": [1],
            },
            1,
        )  # fmt: skip
    monitor.close()
    assert writer.scalars == [("loss", 0.5, 1), ("model/norm", 2.0, 1), ("ok", 1.0, 1)]


def test_parts_of_a_step_belong_to_it_and_sessions_are_counted_on():
    writer = Writer()
    monitor = TensorBoardMonitor(writer)
    for _ in range(2):
        with monitor.session(2):
            for step in (0.5, 1, 1.5, 2):
                monitor.write({"loss": step}, step)
    assert [step for _, _, step in writer.scalars] == [1, 1, 2, 2, 3, 3, 4, 4]


def test_event_files_hold_what_was_written(tmp_path):
    pytest.importorskip("tensorboardX")
    monitor = TensorBoardMonitor(tmp_path / "runs")
    with monitor.session(3):
        for step, loss in enumerate([0.5, math.nan, 0.125], 1):
            monitor.write({"loss": loss, "model": {"norm": 1.5}}, step)
    first = scalars(tmp_path / "runs")  # the session is over, the monitor not closed
    assert [(tag, step) for tag, _, step in first] == [
        ("loss", 1), ("model/norm", 1), ("loss", 2), ("model/norm", 2), ("loss", 3),
        ("model/norm", 3),
    ]  # fmt: skip
    assert [value for tag, value, _ in first if tag == "loss"] == [
        0.5, pytest.approx(math.nan, nan_ok=True), 0.125,
    ]  # fmt: skip
    with monitor.session(1):
        monitor.write({"loss": 0.0625}, 1)
    again = scalars(tmp_path / "runs")
    assert len(again) == 7
    assert ("loss", 0.0625, 4) in again


def test_event_files_are_complete_though_nobody_ended_the_session(tmp_path):
    pytest.importorskip("tensorboardX")
    script = """
import sys
from traininglog.monitors import TensorBoardMonitor
monitor = TensorBoardMonitor(sys.argv[1])
for step in range(1, 101):
    monitor.write({"loss": 1 / step}, step)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script, tmp_path], check=True)
    assert [step for _, _, step in scalars(tmp_path)] == list(range(1, 101))


def test_an_event_file_is_complete_once_its_monitor_is_gone(tmp_path):
    pytest.importorskip("tensorboardX")
    monitor = TensorBoardMonitor(tmp_path)
    for step in range(1, 101):
        monitor.write({"loss": 1 / step}, step)
    del monitor
    gc.collect()
    assert len(scalars(tmp_path)) == 100


def test_a_missing_tensorboardx_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(MissingExtra, match=r'pip install "traininglog\[tensorboard\]"'):
        TensorBoardMonitor(tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    TensorBoardMonitor(Writer()).write({"loss": 1.0}, 1)


def test_what_cannot_be_written_to_is_refused():
    for where in (3, None, object()):
        with pytest.raises(TypeError, match="takes a folder, or a writer"):
            TensorBoardMonitor(where)


# -- Losswise -----------------------------------------------------------------------------------


class Graph:
    def __init__(self, title, kind):
        self.title, self.kind, self.points = title, kind, []

    def append(self, x, values):
        self.points.append((x, values))


class Session:
    def __init__(self, tag=None, max_iter=None, params=None, **_):
        self.tag, self.max_iter, self.params = tag, max_iter, params
        self.graphs, self.ended = {}, 0

    def graph(self, title="", xlabel="", ylabel="", kind=None, display_interval=None):
        self.graphs[title] = Graph(title, kind)
        return self.graphs[title]

    def done(self):
        self.ended += 1


class Client:
    """A client of the same interface, here."""

    def __init__(self):
        self.sessions, self.key = [], None

    def set_api_key(self, api_key):
        self.key = api_key

    def Session(self, **options):  # noqa: N802 - the client's own name
        self.sessions.append(Session(**options))
        return self.sessions[-1]


def test_metrics_go_to_graphs_under_the_names_to_show():
    client = Client()
    monitor = LosswiseMonitor(
        "key", "baseline", {"lr": 0.1}, client=client,
        min_graphs={"loss": {"training_loss": "Training", "model/loss": "Model"}},
        max_graphs={"accuracy": {"accuracy": "Accuracy"}},
    )  # fmt: skip
    with monitor.session(20):
        monitor.write({"training_loss": np.array([1.0, 3.0]), "other": 1.0}, 0.5)
        monitor.write({"model": {"loss": 1}, "accuracy": "high"}, 1)
    with monitor.session(20):
        monitor.write({"training_loss": 0.5, "accuracy": 0.75}, 1)
    monitor.close()
    monitor.close()
    (session,) = client.sessions
    assert client.key == "key"
    assert (session.tag, session.params, session.max_iter) == ("baseline", {"lr": 0.1}, 20)
    loss, accuracy = session.graphs["loss"], session.graphs["accuracy"]
    assert (loss.kind, accuracy.kind) == ("min", "max")
    assert loss.points == [(1, {"Training": 2.0}), (1, {"Model": 1.0}), (2, {"Training": 0.5})]
    assert accuracy.points == [(2, {"Accuracy": 0.75})]
    assert session.ended == 1


def test_by_default_there_are_graphs_of_the_losses_and_the_learning_rate():
    client = Client()
    with (monitor := LosswiseMonitor("key", "tag", client=client)).session(1):
        monitor.write({"training_loss": 1.0, "learning_rate": 0.1}, 1)
    (session,) = client.sessions
    assert session.graphs["loss"].points == [(1, {"Training Loss": 1.0})]
    assert session.graphs["lr"].points == [(1, {"Learning Rate": 0.1})]


@pytest.mark.parametrize(("option", "sent"), [({}, False), ({"track_git": True}, True)])
def test_the_edits_of_the_repository_are_not_sent_unless_that_is_asked_for(option, sent):
    """The client sends the diff of the working tree by default, to whoever is at the URL."""
    asked = []

    class Asking(Client):
        def Session(self, tag=None, max_iter=None, params=None, track_git=True, info=None):  # noqa: N802
            asked.append(track_git)
            return Session(tag, max_iter, params)

    with LosswiseMonitor("key", "tag", client=Asking(), **option).session(1):
        pass
    assert asked == [sent]


def test_a_client_that_knows_nothing_of_git_is_not_told_of_it():
    class Plain(Client):
        def Session(self, tag, params, max_iter):  # noqa: N802
            return Session(tag, max_iter, params)

    with LosswiseMonitor("key", "tag", client=Plain()).session(1):
        pass


def test_nothing_is_sent_before_the_session_begins():
    monitor = LosswiseMonitor("key", "tag", client=Client())
    with pytest.raises(RuntimeError, match=r"start_session\(num_steps\) comes first"):
        monitor.write({"training_loss": 1.0}, 1)


def test_a_missing_client_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "losswise", None)
    with pytest.raises(MissingExtra, match=r'pip install "traininglog\[losswise\]"'):
        LosswiseMonitor("key", "tag")


SENDING = """
import sys, losswise
losswise.set_base_url(sys.argv[1])
from traininglog.monitors import LosswiseMonitor
monitor = LosswiseMonitor("secret", "baseline", {"lr": 0.1})
with monitor.session(2):
    monitor.write({"training_loss": 0.5, "learning_rate": 0.1}, 1)
    monitor.write({"training_loss": 0.25}, 2)
monitor.close()
"""


def test_the_client_itself_sends_it_to_a_server(tmp_path):
    """The service is gone: this one answers as it did."""
    pytest.importorskip("losswise")
    asked = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], body))
            number = sum(path == self.path for path, _, _ in asked)
            answer = {"success": True, "session_id": "s", "graph_id": f"g{number}"}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_PATCH = do_POST  # noqa: N815 - the name that the server looks for

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        subprocess.run(
            [sys.executable, "-c", SENDING, url], check=True, timeout=GUARD, cwd=tmp_path,
            capture_output=True,
        )  # fmt: skip
        server.shutdown()
    assert {key for _, key, _ in asked} == {"secret"}
    (session,) = (body for path, _, body in asked if path.endswith("/sessions"))
    assert (session["tag"], session["params"], session["max_iter"]) == ("baseline", {"lr": 0.1}, 2)
    assert "git" not in session
    graphs = [(body["title"], body["kind"]) for path, _, body in asked if path.endswith("/graphs")]
    assert graphs == [("loss", "min"), ("lr", "min")]
    sent = [
        (point["graph_id"], point["x"], point["y"])
        for path, _, body in asked
        if path.endswith("/point-list")
        for point in body["point_list"]
    ]
    assert sorted(sent, key=lambda point: point[:2]) == [
        ("g1", 1, {"Training Loss": 0.5}),
        ("g1", 2, {"Training Loss": 0.25}),
        ("g2", 1, {"Learning Rate": 0.1}),
    ]
