"""Prepared statements: compiled once, and run on the driver's own cursor."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.sql.elements import BindParameter, ClauseElement


class Prepared:
    """A statement that is compiled once per dialect and run on the driver's own cursor.

    SQLAlchemy writes the SQL. Its execution layer is not used, as it costs more than a small query.

    Args:
        statement: An expression, or SQL that every database understands, with parameters like
            ``:name``. Compiling takes up to a millisecond for an expression, and a tenth of that
            for SQL, once a process. So the statements for opening and reading any log are SQL.

    """

    def __init__(self, statement: ClauseElement | str) -> None:
        self._statement: ClauseElement = (
            text(statement) if isinstance(statement, str) else statement
        )
        self._compiled: dict[str, tuple[str, list[str] | None, dict[str, Any]]] = {}

    def run(self, connection: Connection, **values: object) -> list[Any]:
        """Execute the statement and return all rows, as plain tuples."""
        cursor = self._execute(connection, values)
        rows: list[Any] = cursor.fetchall()
        cursor.close()
        return rows

    def change(self, connection: Connection, **values: object) -> int:
        """Execute a statement that changes rows, and return how many it changed."""
        cursor = self._execute(connection, values)
        count: int = cursor.rowcount
        cursor.close()
        return count

    def each(self, connection: Connection, **values: object) -> Generator[Any]:
        """Execute the statement and yield its rows one by one, if they are too many to hold."""
        with closing(self._execute(connection, values)) as cursor:
            yield from cursor

    def batches(self, connection: Connection, size: int, **values: object) -> Iterator[list[Any]]:
        """Execute the statement and yield its rows, as plain tuples, `size` at a time."""
        with closing(self._execute(connection, values)) as cursor:
            while rows := cursor.fetchmany(size):
                yield rows

    def _execute(self, connection: Connection, values: dict[str, object]) -> Any:
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            whole = self._statement.compile(dialect=dialect)
            order = getattr(whole, "positiontup", None)
            constants = {name: value for name, value in whole.params.items() if value is not None}
            compiled = self._compiled[dialect.name] = (str(whole), order, constants)
        sql, order, constants = compiled
        if constants:
            values = constants | values
        cursor = connection.connection.cursor()
        cursor.execute(sql, values if order is None else tuple(map(values.__getitem__, order)))
        return cursor


def bind(name: str) -> BindParameter[Any]:
    """Return a parameter of a statement."""
    return bindparam(name)
