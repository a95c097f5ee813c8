"""Build the wheel and use it as a stranger would: away from the checkout, with what PyPI brings.

Run by ``make wheel``. The environment also holds PyPI's unrelated package `schema`, which must not
be mistaken for our migrations, and no development package.
"""

import re
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

USE = """
import pathlib, schema, sqlite3, sys
import traininglog
from traininglog import SQLiteLog, Store

assert "site-packages" in traininglog.__file__, traininglog.__file__
assert "traininglog" not in schema.__file__
log = SQLiteLog("runs.db")
for i in range(100):
    log[i]["loss"] = 1 / (i + 1)
log.close()
log = SQLiteLog("runs.db", uuid=log.uuid, at=49)
log[50]["loss"] = 0.5
assert len(log.to_dataframe()) == 51
log.close()
with Store("runs.db") as store:
    assert list(store.runs(heads=False)["state"]) == ["finished", "finished"]
    assert list(store.runs()["resumes"]) == [1]

# A file made by the migrations alone is as good as one made by the package.
import sqlalchemy
from traininglog.sqlite.file import migrations

assert migrations.schema_folder() == pathlib.Path(traininglog.__file__).parent / "schema"
engine = sqlalchemy.create_engine("sqlite:///migrated.db")
with engine.begin() as connection:
    migrations.upgrade(connection)
    migrations.check(connection)
engine.dispose()
log = SQLiteLog("migrated.db")
log[1]["loss"] = 1.0
log.close()
print("the wheel works")
"""


def run(*command: object, **options: object) -> None:
    subprocess.run([str(part) for part in command], check=True, **options)


def check_metadata(metadata: str) -> None:
    """A package index shows this: a relative link would lead nowhere there."""
    header, _, readme = metadata.partition("\n\n")
    assert "License-Expression: MIT" in header, header
    assert "License-File: LICENSE" in header, header
    assert "Description-Content-Type: text/markdown" in header, header
    assert readme.startswith("# traininglog\n"), readme[:80]
    for target in re.findall(r"\]\(([^()\s]+)\)", readme):
        assert "://" in target, f"the README of the wheel links to {target}"


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The wheel is built from the source distribution, so that one is tried, too.
        run(sys.executable, "-m", "build", "--outdir", folder, ROOT,
            stdout=subprocess.DEVNULL)  # fmt: skip
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            contents = archive.namelist()
            (named,) = (path for path in contents if path.endswith(".dist-info/METADATA"))
            metadata = archive.read(named).decode()
        check_metadata(metadata)
        for wanted in ("traininglog/py.typed", "traininglog/schema/env.py",
                       "traininglog/schema/versions/0001_first.py",
                       "traininglog/schema/versions/0002_segments.py",
                       "traininglog/schema/versions/0005_relations.py",
                       named.replace("METADATA", "licenses/LICENSE")):  # fmt: skip
            assert wanted in contents, f"the wheel lacks {wanted}"
        assert not any(path.startswith(("tests", "schema", "benchmarks")) for path in contents)
        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        run(
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            wheel,
            "schema",
        )
        away = folder / "away"
        away.mkdir()
        run(python, "-W", "error", "-c", USE, cwd=away)
        run(python, "-m", "pip", "check", stdout=subprocess.DEVNULL)
        cli = folder / "env" / "bin" / "traininglog"
        run(cli, "runs", "--store", "runs.db", cwd=away)
        run(cli, "check", "--store", "runs.db", cwd=away)
        plot = subprocess.run(
            [cli, "plot", "--store", "runs.db", "--keys", "loss", "--output", "x.png"],
            cwd=away, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert plot.returncode == 1, plot
        assert "traininglog[plot]" in plot.stderr, plot.stderr


if __name__ == "__main__":
    main()
