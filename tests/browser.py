"""A headless browser, for tests of pages. Without one they are skipped, unless they must not be."""

import os
import shutil
import subprocess

import pytest
from patience import GUARD

NEED_BROWSER = bool(os.environ.get("TESTS_NEED_BROWSER"))
BROWSER = shutil.which("chromium")


def browse(folder, page, *arguments):
    """Open a file in the browser; return what it printed. Its profile lies in the folder."""
    if BROWSER is None:
        assert not NEED_BROWSER, "chromium is not installed"
        pytest.skip("chromium is not installed")
    done = subprocess.run(
        [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", *arguments,
         page.absolute().as_uri()],
        capture_output=True, text=True, timeout=GUARD, check=True,
    )  # fmt: skip
    return done.stdout, done.stderr


def dom(folder, page):
    """Return the page as HTML after its script ran, and what the browser logged of it."""
    html, log = browse(folder, page, "--dump-dom")
    return html, [line for line in log.splitlines() if ":CONSOLE" in line]
