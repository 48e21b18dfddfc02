"""Pages of the documentation that are made from the code each time the site is built."""

import inspect
import json
import os
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import AwareDatetime, BaseModel, JsonValue
from pydantic_core import PydanticUndefined

from esdseg.cli.app import app
from esdseg.cli.help import CommandHelp
from esdseg.cli.options import SETTINGS
from esdseg.config.models import MODEL_CONFIGS
from esdseg.config.section import ModelSection
from esdseg.metrics.scorecard import Scorecard
from esdseg.sensors.acquisitions import AcquisitionChoice

ROOT = Path(__file__).parents[1]

ROLE = re.compile(r":(mod|class|func|data|meth|attr):")
"""Marks a name in docstrings."""

PLAIN_TYPES: dict[Any, str] = {
    bool: "true or false",
    int: "whole number",
    float: "number",
    str: "text",
    Path: "path",
    type(None): "null",
    AcquisitionChoice: "order and count",
    AwareDatetime: "date and time",
    JsonValue: "any value",
}
"""What types are called in tables."""  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of commands, settings and keys of ``metrics.json``, and the files at the root."""
    pages = {
        "reference/commands.md": commands_page(),
        "reference/settings.md": settings_page(),
        "reference/metrics.md": metrics_page(),
        "first-map.md": notebook_page("first-map"),
        "what-a-network-sees.md": notebook_page("what-a-network-sees"),
        "changes.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "contributing.md": (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"),
    }
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(html: str, **_: object) -> str:
    """Take the marks of names in docstrings away."""
    return re.sub(ROLE.pattern + r"(?=<code>)", "", html).replace("<code>~", "<code>")


def commands_page() -> str:
    """Return every command with its arguments, flags and examples, as help prints them."""
    lines = [
        "# Commands", "", "`esdseg COMMAND --help` prints the same.",
        "Exit codes: [what they mean](exit-codes.md).", "",
    ]  # fmt: skip
    for title, described in _commands():
        lines += [f"## {title}", "", *(f"{_escaped(text)}\n" for text in described.paragraphs)]
        lines += ["```", described.usage, "```", ""]
        for heading, rows in described.sections.items():
            if rows:
                lines += [*_table((heading.rstrip("s"), "meaning"), _code_first(rows)), ""]
        for example in described.examples:
            name, _, command = example.partition(": ")
            if name != "Example":
                lines += [f"{name}:", ""]
            lines += ["```bash", command, "```", ""]
    return "\n".join(lines)


def settings_page() -> str:
    """Return every setting of every command with its type, default and meaning."""
    lines = [
        "# Settings", "",
        "Settings come from `--config FILE.yml`, then from flags, then from `--set section.key=value`. "
        "The last one wins. `esdseg config show --for COMMAND` prints the values that will act. "
        "A unit is part of a setting's name, such as `buffer_km`.", "",
    ]  # fmt: skip
    for command, (module, name) in SETTINGS.items():
        if command == "sweep":
            continue
        tree = getattr(import_module(f"esdseg.config.{module}"), name)
        rows = list(_settings(tree))
        lines += [f"## {command}", "", *_table(("key", "type", "default", "meaning"), rows), ""]
        if command == "train":
            for title, model in MODEL_CONFIGS.items():
                own = [row for row in _settings(model, "model.") if row[0] != "`model.name`"]
                lines += [f"### {title}", "", *_table(("key", "type", "default", "meaning"), own), ""]
    return "\n".join(lines)


def metrics_page() -> str:
    """Return the keys of ``metrics.json``, as its one schema has them."""
    lines = [
        "# metrics.json", "",
        "`esdseg evaluate` writes it, and `esdseg.evaluate` returns it as an object, an `esdseg.Scorecard`. "
        "A score that has no value, such as the recall of a class without cells, is `null`.", "",
    ]  # fmt: skip
    seen: list[type[BaseModel]] = [Scorecard]
    for model in seen:
        fields = model.model_fields.items()
        for _, field in fields:
            seen += [part for part in _models(field.annotation) if part not in seen]
        summary, attributes = _docstring(model)
        lines += [f"## {model.__name__}", "", _escaped(summary), ""]
        rows = [
            (f"`{key}`", _escaped(_type_name(field.annotation)), _meaning(key, field.annotation, attributes))
            for key, field in fields
        ]
        lines += [*_table(("key", "value", "meaning"), rows), ""]
    return "\n".join(lines)


def notebook_page(name: str) -> str:
    """Return the text and code of a notebook."""
    notebook = json.loads((ROOT / f"docs/notebooks/{name}.ipynb").read_text(encoding="utf-8"))
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"]]
    pieces = [text if kind == "markdown" else f"```python\n{text}\n```" for kind, text in cells]
    title, _, rest = pieces[0].partition("\n")
    note = f"This is the notebook `docs/notebooks/{name}.ipynb`; open it in Jupyter to run it."
    return "\n\n".join([title, note, rest.strip(), *pieces[1:]])


def _commands() -> Iterator[tuple[str, CommandHelp]]:
    """Yield each command's name and help, those of subcommands included."""
    os.environ["COLUMNS"] = "100"
    import typer

    group: Any = typer.main.get_command(app)
    context = group.make_context("esdseg", ["config"], resilient_parsing=True)

    def walk(command: Any, name: str, parent: Any) -> Iterator[tuple[str, CommandHelp]]:
        own = type(parent)(command, info_name=name, parent=parent)
        if hasattr(command, "commands"):
            for child, below in command.commands.items():
                yield from walk(below, child, own)
        else:
            yield own.command_path, command.describe(own)

    for name, command in group.commands.items():
        yield from walk(command, name, context)


def _settings(
    tree: type[BaseModel], prefix: str = "", defaults: BaseModel | None = None
) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each setting of a tree: key, type, default, meaning.

    Args:
        tree: The settings.
        prefix: What stands before their names, such as ``data.``.
        defaults: The values that the tree above gives them; their own defaults unless given.
    """
    for name, field in tree.model_fields.items():
        key, kind, meaning = f"`{prefix}{name}`", field.annotation, _escaped(field.description or "")
        default = (
            field.get_default(call_default_factory=True) if defaults is None else getattr(defaults, name)
        )
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            yield from _settings(kind, f"{prefix}{name}.", default if isinstance(default, kind) else None)
        elif isinstance(default, ModelSection):
            yield key, "a model's name", f"`{default.name}`", "The model, with its own settings below."
        else:
            shown = "needed" if default is PydanticUndefined else f"`{_shown(default)}`"
            limits = ", ".join(filter(None, map(_limit, field.metadata)))
            yield key, _escaped(_type_name(kind) + (f", {limits}" if limits else "")), shown, meaning
    # Steps of a recipe have the names of sensors.
    for others in get_args(tree.__annotations__.get("__pydantic_extra__"))[1:]:
        yield from _settings(others, f"{prefix}SENSOR.")


def _limit(rule: object) -> str:
    for attribute, words in (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below")):
        value = getattr(rule, attribute, None)
        if value is not None:
            return f"{words} {value:,}"
    return ""


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _type_name(kind: Any) -> str:
    """Return a type in plain words."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind in PLAIN_TYPES:
        return PLAIN_TYPES[kind]
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return ", ".join(map(str, arguments))
    if origin in (typing.Union, types.UnionType):
        names = [_type_name(argument) for argument in arguments if argument is not type(None)]
        return " or ".join(names) + (" or null" if type(None) in arguments else "")
    if origin in (tuple, list):
        return "list of: " + _type_name(arguments[0]) if arguments else "list"
    if origin is dict:
        return f"for each {_type_name(arguments[0])}: {_type_name(arguments[1])}"
    return getattr(kind, "__name__", str(kind))


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of."""
    if inspect.isclass(kind) and issubclass(kind, BaseModel):
        yield kind
    for argument in get_args(kind):
        yield from _models(argument)


def _meaning(key: str, kind: Any, attributes: Mapping[str, str]) -> str:
    """Return the meaning of a key; where it has none of its own, what the model is that it holds."""
    text = attributes.get(key) or next((_docstring(part)[0] for part in _models(kind)), "")
    return _escaped(text.replace("``None``", "``null``"))


def _docstring(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """Return what a model is, and the meaning of its attributes, those of its bases included."""
    attributes: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel):
            continue
        _, _, rest = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        name = ""
        for line in rest.splitlines():
            if line.startswith("    ") and not line.startswith("     ") and ": " in line:
                name, _, text = line.strip().partition(": ")
                attributes[name] = text
            elif line.strip() and name:
                attributes[name] += " " + line.strip()
        attributes |= {
            key: field.description for key, field in base.model_fields.items() if field.description
        }
    summary = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0]
    return " ".join(summary.split()), attributes


def _table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    header = list(header)
    return [_row(header), _row(["---"] * len(header)), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |"


def _code_first(rows: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    return ((f"`{name}`", _escaped(text)) for name, text in rows)


def _escaped(text: str) -> str:
    """Return text of the code as Markdown, with its names as code."""
    for sign in ("|", "<", ">", "[", "]"):
        text = text.replace(sign, f"\\{sign}")
    return ROLE.sub("", text).replace("``", "`").replace("*", "\\*")
