"""A user's mistake ends as one plain line on stderr and exit status 1; a bug as a traceback."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import typer
from typer.core import TyperGroup

from traininglog.errors import TrainingLogError

INTERRUPTED = 130  # what a shell reports of a program that Ctrl-C ended


class Mistake(TrainingLogError):
    """Something that the user of the command line asked for and cannot have."""

    code = "usage"


@contextmanager
def asking() -> Iterator[None]:
    """Mark a step that depends on what the user typed: a wrong key or value there is a mistake.

    Only there: elsewhere a `KeyError` is a bug, and must be seen as one.
    """
    try:
        yield
    except TrainingLogError:
        raise
    except (KeyError, ValueError) as error:
        raise Mistake(str(error.args[0]) if error.args else str(error)) from error


class Manners(TyperGroup):
    """The group of all commands, and the one place where errors become exit statuses."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # a reader that is gone is noticed here, not at the very end
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
    from traininglog.cli.output.text import visible  # which every start would else wait for

    print(f"traininglog: {visible(message)}", file=sys.stderr)  # noqa: T201 - the way to say it


def _message(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, TrainingLogError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _let_go_of_stdout() -> None:
    """Send what is still buffered nowhere: flushing it at exit would fail again, and say so."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
