"""A directive for Sphinx: what each command of ``traininglog`` says of itself with ``--help``."""

from collections.abc import Iterator

import typer
from docutils import nodes
from docutils.parsers.rst import Directive

from traininglog.cli.app import Later, app

WIDTH = 88


def helps() -> Iterator[tuple[str, str]]:
    """Give each command as one types it, and its help."""

    def visit(command, name, parent) -> Iterator[tuple[str, str]]:
        context = command.context_class(
            command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
        )
        yield context.command_path, command.get_help(context)
        for each, within in getattr(command, "commands", {}).items():
            yield from visit(within.real() if isinstance(within, Later) else within, each, context)

    yield from visit(typer.main.get_command(app), "traininglog", None)


class Commands(Directive):
    """A section a command, with its help as the terminal shows it."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        sections = []
        for name, text in helps():
            section = nodes.section(ids=[nodes.make_id(name)], names=[name])
            section += nodes.title(name, name)
            block = nodes.literal_block(text, text)
            block["language"] = "text"
            section += block
            self.state.document.note_explicit_target(section, section)
            sections.append(section)
        return sections


def setup(app) -> dict[str, bool]:
    """Make the directive known to Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
