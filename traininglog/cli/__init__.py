"""The command line: `traininglog`. Nothing else in the package knows of it.

Each command lives in the module named for what it does; `app` wires them together, and what they
share is in `stores` (finding runs), `terminal` (tables, progress), `text` and `json_output` (how a
value is shown), `files` (output files) and `mistakes` (what ends as one line on stderr).

Start-up is a part of every command, so neither pandas nor SQLAlchemy is imported before a command
needs it.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; the entry point of the `traininglog` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name that the terminal's encoding lacks is shown escaped, instead of ending it all.
            stream.reconfigure(errors="backslashreplace")
    try:
        from traininglog.cli.app import app

        app(prog_name="traininglog")
    except KeyboardInterrupt:  # before a command could take care of it
        sys.exit(130)
