"""Errors: a user's mistake ends with a line on stderr and exit status 1, a bug with a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from typer.core import TyperGroup

from traininglog.errors import TrainingLogError

INTERRUPTED = 130  # the exit status that a shell reports after Ctrl-C


class Mistake(TrainingLogError):
    """The user of the command line requested something impossible."""

    code = "usage"


@contextmanager
def asking() -> Iterator[None]:
    """Turn a `KeyError` or `ValueError` of the block into a `Mistake`.

    The block must depend on the user's input. Elsewhere, a `KeyError` is a bug, and must remain
    visible as one.
    """
    try:
        yield
    except TrainingLogError:
        raise
    except (KeyError, ValueError) as error:
        raise Mistake(str(error.args[0]) if error.args else str(error)) from error


class Manners(TyperGroup):
    """The group of all commands, which turns errors into exit statuses."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # raises here, not at exit, if the reader of the pipe is gone
        except BrokenPipeError:
            _let_go_of_stdout()
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except (TrainingLogError, OSError) as error:
            complain(_message(error))
            raise typer.Exit(1) from error
        return result


def complain(message: str) -> None:
    """Print one line on stderr."""
    from traininglog.display.plain_text import visible  # imported late, for a fast start-up

    print(f"traininglog: {visible(message)}", file=sys.stderr)  # noqa: T201 - the way to say it


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, TrainingLogError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _let_go_of_stdout() -> None:
    """Redirect stdout to the null device, as a flush at exit would fail again, with a message."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
