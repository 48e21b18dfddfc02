"""The ``esdseg`` application: its subcommands, and what becomes of errors."""

import os
import re
import sys
import traceback
from dataclasses import replace
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from esdseg import __version__
from esdseg.cli import (
    ablate,
    adapt,
    check,
    compare,
    config,
    cut,
    evaluate,
    export,
    models,
    predict,
    preprocess,
    report,
    restitch,
    sample,
    sweep,
    train,
)
from esdseg.cli.help import CommandHelp, Group
from esdseg.cli.output import print_error
from esdseg.errors import ESDSegError
from esdseg.system.tuning import tune_process

INTERNAL_ERROR_EXIT_CODE = 70
"""``EX_SOFTWARE`` of sysexits.h: a fault of esdseg itself, not of its input."""

PLAIN_WORDS = {
    "Input should be a valid integer, unable to parse string as an integer": "it should be a whole number",
    "Input should be a valid number, unable to parse string as a number": "it should be a number",
    "Input should": "it should",
    "Value error, ": "",
    "Got unexpected extra argument(s)": "The command takes no further argument:",
}
"""Wordings of pydantic, by which Typer reads flags, and what they mean."""

DEBUG_VARIABLE = "ESDSEG_DEBUG"

TASKS = {
    "Get tiles": (sample, cut, check, preprocess),
    "Train": (train, sweep),
    "Score": (evaluate, compare, ablate, report),
    "Map": (restitch, adapt, predict),
    "Share": (export,),
    "Look up": (models, config),
}
"""The subcommands by task, in the order in which a user meets them."""


class Tasks(Group):
    """The command line as a whole: its subcommands by task."""

    def describe(self, ctx: Any) -> CommandHelp:
        """Return what help says, with a section a task."""
        described = super().describe(ctx)
        meanings = dict(described.sections["Commands"])
        names = {
            task: [module.__name__.rpartition(".")[2] for module in modules]
            for task, modules in TASKS.items()
        }
        tasks = {task: tuple((name, meanings[name]) for name in of_task) for task, of_task in names.items()}
        sections = {heading: rows for heading, rows in described.sections.items() if heading != "Commands"}
        return replace(described, sections={**sections, **tasks})


app = typer.Typer(
    name="esdseg",
    help="Map settlements without electricity from folders of multi-sensor satellite tiles.",
    epilog="Example: esdseg sample data/raw/Train && esdseg preprocess && esdseg train",
    cls=Tasks,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for modules in TASKS.values():
    for module in modules:
        module.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"esdseg {__version__}")
        raise typer.Exit()


@app.callback()
def _global_options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def run() -> None:
    """Run the command line; exit codes are those of :mod:`esdseg.errors`."""
    tune_process()
    try:
        exit_code = app(prog_name="esdseg", standalone_mode=False)
    except TyperException as error:
        print_error(_with_help(error))
        sys.exit(error.exit_code)
    except ESDSegError as error:
        _show_traceback_if_debugging()
        print_error(str(error))
        sys.exit(error.exit_code)
    except Exception as error:
        _show_traceback_if_debugging()
        print_error(
            f"Unexpected {type(error).__name__}: {error}\n"
            "This is a fault of esdseg. `esdseg --debug COMMAND ...` shows where; please report it."
        )
        sys.exit(INTERNAL_ERROR_EXIT_CODE)
    sys.exit(exit_code)


def _with_help(error: TyperException) -> str:
    """Return the message of a wrong flag or argument, with the command that lists the right ones."""
    context = getattr(error, "ctx", None)
    hint = "" if context is None else f"\n`{context.command_path} --help` lists its options."
    message = error.format_message()
    extra = re.search(r"extra argument\(s\) \((.+)\)", message)
    meant = [] if context is None or not extra else _meant_by(context, extra[1].split())
    if meant:
        hint = f"; {'; or '.join(meant)}.{hint}"
    for theirs, plain in PLAIN_WORDS.items():
        message = message.replace(theirs, plain)
    return message + hint


def _meant_by(context: Any, words: list[str]) -> list[str]:
    """Return what words that a command does not take may have been meant as."""
    given = {
        option.opts[0]: option
        for option in context.command.params
        if context.get_parameter_source(option.name).name == "COMMANDLINE"
    }
    lists = [
        f"{flag} {','.join(word.strip(',') for word in (context.params[option.name], *words))}"
        for flag, option in given.items()
        if "," in (option.metavar or "")
    ]
    meant = [f"join several values by commas: {' or '.join(lists)}"] if lists else []
    takes_runs = any("--checkpoint" in option.opts for option in context.command.params)
    if len(words) == 1 and takes_runs and "--checkpoint" not in given:
        meant.append(f"name the run with --checkpoint {words[0]}")
    return meant


def _show_traceback_if_debugging() -> None:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
