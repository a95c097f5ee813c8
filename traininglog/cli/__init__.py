"""The command line: `traininglog`. No other part of the package depends on it.

Each command is in a module named after it, and `app` wires them together. Shared parts are in
`stores` (finding runs), `terminal` (tables, progress), `text` and `json_output` (showing values),
`files` (output files) and `mistakes` (errors that end as one line on stderr).

Every command pays for the start-up, so pandas and SQLAlchemy are imported only when a command needs
them.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command line; the entry point of the `traininglog` script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A letter that the terminal's encoding lacks is escaped, and raises no error.
            stream.reconfigure(errors="backslashreplace")
    try:
        from traininglog.cli.app import app

        app(prog_name="traininglog")
    except KeyboardInterrupt:  # it came before a command could handle it
        sys.exit(130)
