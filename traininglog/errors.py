"""All errors of the package.

There is one root, `TrainingLogError`, and a few leaves. Each leaf has a `code` that programs may
rely on (messages may change). If Python has a fitting built-in exception, the leaf also derives
from that, so that ``except KeyError`` or ``except ValueError`` work as expected.
"""

from __future__ import annotations


class TrainingLogError(Exception):
    """The root of all errors that this package raises on purpose."""

    code = "error"

    def __str__(self) -> str:
        # KeyError would show the repr of the message: quoted, with its newlines escaped.
        return str(self.args[0]) if self.args else ""


class InvalidTime(TrainingLogError, ValueError):
    """A time that is not a non-negative integer of at most 63 bits."""

    code = "invalid-time"


class InvalidKey(TrainingLogError, ValueError):
    """A key that is not a text of 1 to 512 bytes, or that contains NUL or lone surrogates."""

    code = "invalid-key"


class ValueTypeError(TrainingLogError, TypeError):
    """A value of a type that a log does not store."""

    code = "value-type"


class ValueRangeError(TrainingLogError, ValueError):
    """An integer beyond 64 bits."""

    code = "value-range"


class ValueTooLarge(TrainingLogError, ValueError):
    """A text, bytes, array or container above `max_value_bytes`, or nested too deeply."""

    code = "value-too-large"


class ReadOnlyValue(TrainingLogError, TypeError):
    """An attempt to change, in place, a container that was read from a log."""

    code = "read-only-value"


class LogClosed(TrainingLogError, ValueError):
    """A log was used after `close()`."""

    code = "log-closed"


class ReadOnlyLog(TrainingLogError):
    """A write to a log that was opened for reading only."""

    code = "read-only"


class ForkedLog(TrainingLogError):
    """A log was used in a child that was forked from the process which opened it."""

    code = "forked-log"


class InvalidUUID(TrainingLogError, ValueError):
    """Something that cannot be the UUID of a run."""

    code = "invalid-uuid"


class InvalidState(TrainingLogError, ValueError):
    """Something that `state_dict()` did not make was given to `load_state_dict()`."""

    code = "invalid-state"


class RunNotFound(TrainingLogError, LookupError):
    """A UUID, or a prefix of one, that the store does not hold."""

    code = "run-not-found"


class AmbiguousRun(TrainingLogError, LookupError):
    """A prefix that fits several runs."""

    code = "ambiguous-run"


class RunBusy(TrainingLogError):
    """A live process is writing the run."""

    code = "run-busy"


class RunTakenOver(TrainingLogError):
    """Another writer has taken the run from this log, which can no longer write it."""

    code = "run-taken-over"


class RunHasChildren(TrainingLogError):
    """The run cannot be deleted: other runs were resumed from it and read through it."""

    code = "run-has-children"


class StoreNotFound(TrainingLogError, FileNotFoundError):
    """There is no store at this place."""

    code = "store-not-found"


class StoreLocked(TrainingLogError, TimeoutError):
    """Another process locked the database for longer than the log waits."""

    code = "store-locked"


class StoreUnwritable(TrainingLogError, PermissionError):
    """The store can be read but not written."""

    code = "store-unwritable"


class StoreFailed(TrainingLogError, OSError):
    """The operating system could not read or write the store: a full disk, an I/O error."""

    code = "store-failed"


class NetworkFileSystem(TrainingLogError, OSError):
    """The file is on a network file system, which several hosts share. SQLite needs a local one."""

    code = "network-file-system"


class NotATrainingLog(TrainingLogError, ValueError):
    """The file is something else; it was left as it is."""

    code = "not-a-training-log"


class SchemaTooNew(TrainingLogError):
    """The file was written by a newer version of this package."""

    code = "schema-too-new"


class SchemaTooOld(TrainingLogError):
    """The file must be upgraded first, and was opened for reading only."""

    code = "schema-too-old"


class CorruptLog(TrainingLogError):
    """Stored data that no writer can have written."""

    code = "corrupt"


class UnknownScheme(TrainingLogError, ValueError):
    """A store URL whose scheme was not registered."""

    code = "unknown-scheme"


class ConfigurationError(TrainingLogError, ValueError):
    """A setting that does not exist, or a value that it cannot take."""

    code = "configuration"


class BadQuery(TrainingLogError, ValueError):
    """An expression about runs that is none, or that names or compares what cannot be."""

    code = "bad-query"


class TrainingLogWarning(UserWarning):
    """A problem that the user should know of and that did not stop the run."""


class MissingExtra(TrainingLogError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    code = "missing-extra"
