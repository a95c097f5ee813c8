"""The peers: what each needs, and an environment of its own for it, made when first wanted.

An environment is made once, in `.venvs` beside this file, and again when what it should hold has
changed. To add a peer, write `peers/<name>_peer.py` and add a line to `PEERS`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import rmtree

HERE = Path(__file__).resolve().parent
ENVIRONMENTS = HERE / ".venvs"


class Unavailable(Exception):
    """A peer's environment could not be made, for the reason given."""


@dataclass(frozen=True)
class Peer:
    """One peer: what it needs, and how it is kept from the network."""

    name: str  # in the tables
    needs: tuple[str, ...] = ()  # a bare name: in the version that is installed here
    imports: str | None = None  # the statement that brings it into a program
    settings: dict[str, str] = field(default_factory=dict)  # environment variables; {folder}
    logs: bool = True  # whether it does the works of `peers/peer.py`

    @property
    def requirements(self) -> list[str]:
        """What pip is asked for."""
        return [
            need if set(need) & set("<>=") else f"{need}=={version(need).partition('+')[0]}"
            for need in self.needs
        ]


_PANDAS = "pandas>=2.2,<4"

#: By the name of the file in `peers`, which ends in _peer.py. What is measured is what is newest
#: within these bounds. traininglog runs right here.
PEERS = {
    "traininglog": Peer("traininglog", imports="from traininglog import SQLiteLog"),
    "defaultdict": Peer("defaultdict"),
    "csv": Peer("csv", ("pandas",), "import csv, pandas"),
    "parquet": Peer("Parquet", ("pandas", "pyarrow"), "import pandas, pyarrow.parquet"),
    "sqlite3": Peer("sqlite3", ("pandas",), "import sqlite3"),
    "trackio": Peer(
        "Trackio", (_PANDAS, "trackio>=0.40,<1"), "import trackio",
        {"TRACKIO_DIR": "{folder}", "HF_HUB_OFFLINE": "1", "TRACKIO_STORAGE_MODE": "sqlite"},
    ),
    "wandb": Peer(
        "wandb", (_PANDAS, "wandb>=0.31,<1"), "import wandb",
        {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"},
    ),
    "tensorboardx": Peer(
        "tensorboardX", (_PANDAS, "tensorboardX>=2.6,<3"), "import tensorboardX"
    ),
    "mlflow": Peer(
        "MLflow", (_PANDAS, "mlflow>=3.5,<4"), "import mlflow",
        {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_ENABLE_ASYNC_LOGGING": "false"},
    ),
    "aim": Peer("Aim", (_PANDAS, "aim>=3.29,<4"), "import aim"),
    "sacred": Peer(
        "Sacred", (_PANDAS, "setuptools>=65,<81", "sacred>=0.8.7,<0.9"), "import sacred"
    ),
    "monitorch": Peer(
        "monitorch", ("torch", "numpy", "monitorch>=0.1.0.7,<0.2"), "import monitorch", logs=False
    ),
}  # fmt: skip


def python_of(name: str) -> Path:
    """Return the Python of a peer's environment, which is made if need be.

    Raises:
        Unavailable: It could not be made.

    """
    peer = PEERS[name]
    if name == "traininglog":
        return Path(sys.executable)
    place = ENVIRONMENTS / name
    python, marker = place / "bin" / "python", place / "complete.json"
    try:
        wanted = {"python": platform.python_version(), "holds": peer.requirements}
    except PackageNotFoundError as error:
        raise Unavailable(f"it is to be as here, where there is no {error.name}") from None
    if not (marker.exists() and json.loads(marker.read_text(encoding="utf-8")) == wanted):
        print(f"making an environment for {peer.name}", file=sys.stderr)
        rmtree(place, ignore_errors=True)
        venv.create(place, with_pip=bool(peer.needs))
        if peer.needs:
            _install(python, peer.requirements)
        marker.write_text(json.dumps(wanted), encoding="utf-8")
    return python


def surroundings(name: str, folder: Path) -> dict[str, str]:
    """Return the environment variables for a peer that works in a folder."""
    variables = dict(os.environ)
    if name != "traininglog":
        variables.pop("PYTHONPATH", None)
        # A home of its own: no settings of the user's, no account, and nothing left there.
        home = ENVIRONMENTS / name / "home"
        if home.parent.exists():
            variables |= {"HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config")}
    variables["DO_NOT_TRACK"] = "1"
    given = PEERS[name].settings
    return variables | {key: value.format(folder=folder) for key, value in given.items()}


def _install(python: Path, requirements: list[str]) -> None:
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, check=False, timeout=1200
        )
    except subprocess.TimeoutExpired:
        raise Unavailable("pip had not installed it after 20 minutes") from None
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable(said[0] if said else f"pip ended with status {done.returncode}")
