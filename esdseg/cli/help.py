"""Help screens: they fit the terminal, break no flag and no name, and print at once.

They are plain text. Typer's own coloured ones cut long flags, and take longer to load than to read.
"""

import inspect
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from esdseg.cli.options import described_settings, label_of
from esdseg.cli.output import command_lines, wrap
from esdseg.config.descriptions import SettingDescription

WIDEST = 100
"""Characters of a line that is still easy to read."""

NAMES_WIDTH = 30
"""Characters of the column of flags; longer ones have a line of their own."""

USAGE_EXIT_CODE = 2


@dataclass(frozen=True)
class CommandHelp:
    """What help says of a command.

    Attributes:
        usage: How it is called, such as ``esdseg check [OPTIONS] RAW_DIR``.
        paragraphs: What it does.
        sections: Rows of a name or flags and their meaning, by their heading.
        examples: Commands to copy, some with a title: ``Title: esdseg ...``.
    """

    usage: str
    paragraphs: tuple[str, ...]
    sections: dict[str, tuple[tuple[str, str], ...]]
    examples: tuple[str, ...]


class Subcommand(TyperCommand):
    """A subcommand."""

    def describe(self, ctx: Any) -> CommandHelp:
        """Return what help says of the command."""
        return _describe_command(self, ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help screen."""
        formatter.write(_screen(self.describe(ctx)))


class SettingsCommand(Subcommand):
    """A subcommand whose flags take help, choices and default from the settings behind them."""

    def describe(self, ctx: Any) -> CommandHelp:
        """Return what help says of the command."""
        names, described = described_settings(str(self.name))
        for parameter in self.params:
            key = names.get(label_of(parameter))
            if key in described and isinstance(parameter, (TyperOption, TyperArgument)):
                _describe(parameter, key, described[key])
        return super().describe(ctx)


class Group(TyperGroup):
    """The command line as a whole, or a subcommand with subcommands of its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; where there are none, print the help screen."""
        if not args and not ctx.resilient_parsing:
            typer.echo(ctx.get_help(), err=True)
            ctx.exit(USAGE_EXIT_CODE)
        for parameter in self.get_params(ctx):
            # Typer loads pydantic to read a switch that is not given, unless it is off.
            if isinstance(parameter, TyperOption) and parameter.is_flag and parameter.default is None:
                parameter.default = False
        return super().parse_args(ctx, args)

    def describe(self, ctx: Any) -> CommandHelp:
        """Return what help says of the group."""
        commands = [(name, _first_paragraph(command.help)) for name, command in self.commands.items()]
        return _describe_command(self, ctx, commands)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help screen."""
        formatter.write(_screen(self.describe(ctx)))


def _describe_command(
    command: TyperCommand | TyperGroup, ctx: Any, commands: Iterable[tuple[str, str]] = ()
) -> CommandHelp:
    """Return what help says of a command; ``commands`` are subcommands, each with what it does."""
    pieces = [re.sub("[{}]", "", piece) for piece in command.collect_usage_pieces(ctx)]
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    sections = {
        heading: tuple(
            _row(parameter, ctx) for parameter in command.get_params(ctx) if isinstance(parameter, kind)
        )
        for heading, kind in (("Arguments", TyperArgument), ("Options", TyperOption))
    }
    return CommandHelp(
        " ".join([ctx.command_path, *pieces]),
        tuple(" ".join(paragraph.split()) for paragraph in paragraphs),
        {**sections, "Commands": tuple(commands)},
        tuple(filter(None, (command.epilog or "").split("  |  "))),
    )


def _screen(described: CommandHelp) -> str:
    """Return a help screen."""
    width = min(WIDEST, shutil.get_terminal_size().columns)
    lines = wrap(f"Usage: {described.usage}", width, "    ")
    for paragraph in described.paragraphs:
        lines += ["", *wrap(f"  {paragraph}", width, "  ")]
    for heading, rows in described.sections.items():
        lines += _section(heading, rows, width)
    lines.append("")
    for example in described.examples:
        title, _, line = example.partition(": ")
        is_long_command = len(example) > width and line.startswith("esdseg ")
        lines += [f"{title}:", *command_lines(line, width, "  ")] if is_long_command else wrap(example, width)
    return "\n".join(lines) + "\n"


def _row(parameter: TyperOption | TyperArgument, ctx: Any) -> tuple[str, str]:
    """Return the flags or the name of a parameter, and what it means."""
    flags, text = parameter.get_help_record(ctx) or ("", "")
    is_argument = isinstance(parameter, TyperArgument)
    return str(parameter.metavar) if is_argument else flags, text.replace("x>=", "at least ")


def _section(heading: str, rows: Iterable[tuple[str, str]], width: int) -> list[str]:
    """Return rows of flags or names, each with its text beside it, under a heading."""
    rows = list(rows)
    column = min(NAMES_WIDTH, max((len(names) for names, _ in rows), default=0))
    lines = ["", f"{heading}:"] if rows else []
    for names, text in rows:
        first, *others = wrap(text, width - column - 4)
        if len(names) > column:
            lines.append(f"  {names}")
            names = ""
        lines += [f"  {names:{column}}  {first}", *(" " * (column + 4) + line for line in others)]
    return lines


def _describe(parameter: TyperOption | TyperArgument, key: str, described: SettingDescription) -> None:
    """Give a parameter the help of the setting behind it, with the choices and the default."""
    notes = []
    if len(described.choices) > 1:
        notes.append(f"one of {', '.join(described.choices)}")
    if described.default is True:
        notes.append(f"default: {key.rpartition('.')[2].replace('_', '-')}")
    elif described.default is not None and described.default is not False and not parameter.required:
        notes.append(f"default: {described.default}")
    text = (parameter.help or described.text).replace("``", "")
    parameter.help = text + (f" [{'; '.join(notes)}]" if notes else "")


def _first_paragraph(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())
