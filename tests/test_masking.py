"""Secrets: what looks like one is masked before it is stored; what does not is left alone."""

import doctest
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from time import process_time

import pytest
from command_line import run
from patience import GUARD

from traininglog import masking
from traininglog.masking import is_secret_name, masked, masked_command, masked_values
from traininglog.trials import TrialClient

SECRET = "5ecret-Word_9"

#: Command lines with a secret in them, in the ways in which people hand one over.
WITH = [
    ["--api-key", SECRET], [f"--api-key={SECRET}"], [f"--api_key:{SECRET}"], ["-key", SECRET],
    ["--hf-token", SECRET], [f"--hf_token={SECRET}"], [f"HF_TOKEN={SECRET}"],
    ["--wandb-key", SECRET], [f"wandb.api_key={SECRET}"], [f"+trainer.logger.token={SECRET}"],
    [f"--secretAccessKey={SECRET}"], [f"AWS_SECRET_ACCESS_KEY={SECRET}"], ["--secret", SECRET],
    ["--password", SECRET], [f"--password={SECRET} with a space"], [f"PGPASSWORD={SECRET}"],
    [f"--db-passwd={SECRET}"], ["--passphrase", SECRET], [f"MYSQL_PWD={SECRET}"],
    ["--client-secret", SECRET], ["--credentials", SECRET], ["--auth", SECRET],
    [f"https://me:{SECRET}@example.org/x"], [f"--store=postgresql://me:{SECRET}@h:5432/db"],
    [f"mongodb+srv://me:{SECRET}@h/db"], [f"redis://:{SECRET}@h:1"], [f"me:{SECRET}@example.org"],
    [f"https://me:{SECRET}/with@example.org"], [f"https://me:{SECRET}@@example.org"],
    [f"https://{SECRET}@example.org/repository.git"], ["-u", f"me:{SECRET}"],
    [f"--url=https://h/x?a=1&access_token={SECRET}&b=2"], [f"https://h/x?sig={SECRET}"],
    ["--header", f"Authorization: Bearer {SECRET}"], ["Authorization:", "Bearer", SECRET],
    ["-H", f"X-Api-Key: {SECRET}"], [f'{{"lr": 0.1, "api_key": "{SECRET}"}}'],
    ["-c", f"login(key='{SECRET}', n=1)"], ["-c", f'password = "{SECRET}"'],
    ["api_key", "=", SECRET],
    ["--env", f"API_TOKEN={SECRET}"], ["--set", f"db.password={SECRET},db.user=me"],
    [f"-DapiKey={SECRET}"], ["--token", "--lr", "0.1", f"--token={SECRET}"],
    ["--password", f"-{SECRET}"], ["login", "hf_ABCDEFGHIJKLMNOPQRSTUV" + SECRET],
    ["ghp_ABCDEFGHIJKLMNOPQRSTUVWXYZ012345" + SECRET.replace("-", "")],
]  # fmt: skip

#: Command lines without any, which are to be seen as they are.
WITHOUT = [
    ["--max-tokens", "512"], ["--num_tokens=100"], ["--tokens", "512"], ["--tokenizer", "gpt2"],
    ["--sort-key", "loss"], ["--sort_key=loss"], ["--key-size", "64"], ["--n-keys", "3"],
    ["--monkey", "patch"], ["--keyboard=qwerty"], ["--pad-token", "<pad>"], ["--lr", "0.1"],
    ["--password-file", "x"], ["--compass", "north"], ["--author", "me"], ["--passes=3"],
    ["ssh://git@example.org/x"], ["git@example.org:a/b"], ["https://example.org:8080/a@b"],
    ["me@example.org"], ["data=s3://bucket/x"], ["12:30@x"], ["--design", "x"], ["--token"],
]  # fmt: skip


@pytest.mark.parametrize("words", WITH, ids=" ".join)
def test_a_secret_on_a_command_line_is_masked(words):
    shown = masked_command(["train.py", *words, "--last", "seen"])
    assert SECRET not in shown
    assert SECRET.replace("-", "") not in shown
    assert masking.MASK in shown
    assert shown.startswith("train.py ")
    assert shown.endswith(" --last seen")


@pytest.mark.parametrize("words", WITHOUT, ids=" ".join)
def test_what_is_no_secret_is_left_as_it_is(words):
    shown = masked_command(["train.py", *words, "--last", "seen"])
    assert masking.MASK not in shown
    assert all(word in shown for word in words)


def test_the_rest_of_a_text_is_left_as_it_is():
    text = f"fit(url='https://me:{SECRET}@h/x?token={SECRET}', lr=0.1, token='{SECRET}')"
    assert masked(text) == "fit(url='https://me:***@h/x?token=***', lr=0.1, token='***')"
    assert masked(masked(text)) == masked(text)


def test_in_code_only_what_is_surely_a_secret_is_masked():
    code = "sorted(x, key=f); connect(password=config.password, token=t); a[b:c@d]"
    assert masked(code, code=True) == code
    assert masked(f"connect(password='{SECRET}')", code=True) == "connect(password='***')"


def test_named_values_are_masked_by_their_names_and_in_urls():
    values = {"api_key": SECRET, "key": "loss", "n": 1, "db": f"postgresql://me:{SECRET}@h/x",
              "nested": {"password": SECRET, "lr": 0.1}, "empty_password": ""}  # fmt: skip
    assert masked_values(values) == {
        "api_key": "***", "key": "loss", "n": 1, "db": "postgresql://me:***@h/x",
        "nested": {"password": "***", "lr": 0.1}, "empty_password": "",
    }  # fmt: skip
    assert values["api_key"] == SECRET


def test_names_of_secrets_are_told_from_others_in_any_spelling():
    for name in ("API_KEY", "apiKey", "api-key", "db.password", "HFToken", "x_pat", "tokens"):
        assert is_secret_name(name), name
    for name in ("key_size", "maxTokens", "MAX_TOKENS", "tokenizer", "path", "", "_", "lr"):
        assert not is_secret_name(name), name


@pytest.mark.parametrize(
    "text", ["a", "a:", "a-", "key=", "x://", "https://a:", "Bearer ", "key='", "a.b:c@", "eyJ"]
)
def test_a_long_text_takes_time_in_proportion(text):
    """Measured in what this process used: four times as much text, about four times as long."""
    took = []
    for size in (25_000, 100_000):
        repeated = text * (size // len(text))
        began = process_time()
        masked(repeated)
        took.append(process_time() - began)
    assert took[1] < 0.2 or took[1] < 12 * took[0]


def test_its_examples_run():
    assert doctest.testmod(masking).failed == 0


PROGRAM = """
import argparse, sys
from traininglog import SQLiteLog
from traininglog.trials import TrialClient
parser = argparse.ArgumentParser()
parser.add_argument("--api-key")
parser.add_argument("--lr", type=float)
parser.add_argument("url")
with TrialClient("s.db"{option}) as client:
    trial = client.new_trial(parameters=parser)
    assert trial.log_arguments(parser).api_key.startswith("5ecret")
    trial.log_metrics(step=1, loss=1)
    try:
        raise OSError("no way to " + parser.parse_args().url)
    except OSError as error:
        trial.finish(exc_val=error)
with SQLiteLog("s.db") as log:
    log[1]["loss"] = 1.0
"""


def ran(tmp_path, option="", **variables):
    words = [sys.executable, "-c", PROGRAM.format(option=option), f"--api-key={SECRET}", "--lr=0.5"]
    subprocess.run(
        [*words, f"https://me:{SECRET}@example.org/x"], cwd=tmp_path, check=True, timeout=GUARD,
        env=os.environ | variables | {"AWS_SECRET_ACCESS_KEY": f"{SECRET}-of-the-environment"},
    )  # fmt: skip
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert SECRET.encode() not in stored
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        commands = [row[0] for row in connection.execute("SELECT command FROM runs ORDER BY id")]
    with TrialClient(tmp_path / "s.db") as client:
        (trial,) = client.fetch_trials()
        return commands, client.store.environment(trial)["command"], trial


def test_no_file_of_a_store_holds_the_secrets_of_a_command_line(tmp_path):
    commands, command, trial = ran(tmp_path)
    assert len(commands) == 2
    for one in (*commands, command):
        assert "--api-key=*** --lr=0.5" in one
        assert one.endswith("https://me:***@example.org/x")
    assert trial.parameters == {
        "api_key": "***", "lr": 0.5, "url": "https://me:***@example.org/x",
    }  # fmt: skip
    assert trial.errors[0]["message"] == "no way to https://me:***@example.org/x"


def test_what_an_older_version_stored_is_masked_where_it_is_shown(tmp_path):
    path = tmp_path / "s.db"
    line = f"python train.py --api-key {SECRET} 'a b' --lr 0.1"
    with TrialClient(path) as client:
        trial = client.new_trial(version="1", parameters={}).start()
        trial.finish()
        client.store.keep_environment(trial.uid, {"python": "3", "command": line})
        assert client.store.environment(trial.uid)["command"] == line.replace(SECRET, "***")
        log = trial.trial.log
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE runs SET command = ?", (line[:-9],))  # cut within quotes
        connection.commit()
    for words in (("show", log), ("trial", "show", trial.uid)):
        shown = run(*words, "--store", path).stdout
        assert SECRET not in shown
        assert "--api-key ***" in shown


@pytest.mark.parametrize(
    ("option", "variables"),
    [(", record_command=False", {}), ("", {"TRAININGLOG_RECORD_COMMAND": "0"})],
)
def test_a_command_line_that_is_not_to_be_recorded_is_nowhere(tmp_path, option, variables):
    commands, command, _ = ran(tmp_path, option, **variables)
    assert {*commands, command} == {""}
