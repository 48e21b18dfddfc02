"""What each setting means, its default and its choices, read from the source of the settings.

Help screens show them. Importing the settings themselves takes several times as long as all else that a help
screen needs, since pydantic builds a validator for each.
"""

import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SettingDescription:
    """What a help screen says of a setting.

    Attributes:
        text: The text below the field, on one line.
        default: Its default where that is a number, a text, a path or a switch; ``None`` otherwise.
        choices: The values that it may have, where they are a few names.
    """

    text: str
    default: str | float | bool | None
    choices: tuple[str, ...]


class SettingsSource:
    """The source of modules of ``esdseg.config``, such as ``section`` and ``training``."""

    def __init__(self, *modules: str) -> None:
        self._classes: dict[str, ast.ClassDef] = {}
        self._values: dict[str, ast.expr] = {}
        for module in modules:
            source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
            for statement in ast.parse(source).body:
                if isinstance(statement, ast.ClassDef):
                    self._classes[statement.name] = statement
                elif isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                    self._values[statement.targets[0].id] = statement.value

    def constant(self, name: str) -> Any:
        """Return the value of a constant of texts and numbers."""
        return ast.literal_eval(self._values[name])

    def describe(self, tree: str) -> dict[str, SettingDescription]:
        """Return what each setting of a class means, by its dotted key, those of its sections included."""
        described: dict[str, SettingDescription] = {}
        definition = self._classes[tree]
        for base in definition.bases:
            if isinstance(base, ast.Name) and base.id in self._classes:
                described |= self.describe(base.id)
        for field, below in zip(definition.body, [*definition.body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                name = field.target.id
                described[name] = SettingDescription(
                    _text(below), self._default(field.value), self._choices(field.annotation)
                )
                match field.value:
                    case ast.Call(func=ast.Name(id=section)) if section in self._classes:
                        described |= {f"{name}.{key}": part for key, part in self.describe(section).items()}
        return described

    def _default(self, value: ast.expr | None) -> str | float | bool | None:
        match value:
            case ast.Constant(value=str() | int() | float() as default):
                return default
            case ast.Call(func=ast.Name(id="Path"), args=[ast.Constant(value=str(path))]):
                return path
            case ast.Name(id=name) if name in self._values:
                return self._default(self._values[name])
        return None

    def _choices(self, kind: ast.expr) -> tuple[str, ...]:
        match kind:
            case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=names)):
                return tuple(str(ast.literal_eval(name)) for name in names)
            case ast.Name(id=name) if name in self._values:
                return self._choices(self._values[name])
        return ()


def _text(statement: ast.stmt | None) -> str:
    """Return the text that stands as a statement of its own."""
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split())
    return ""
