"""From a file, flags and ``--set`` to one frozen, validated tree; and back to YAML."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from esdseg.config.models import COURSE_NAMES, MODEL_CONFIGS
from esdseg.config.spelling import nearest_name
from esdseg.config.yaml_file import Key, parse_value, read_yaml
from esdseg.errors import ConfigError

Tree = TypeVar("Tree", bound=BaseModel)


def load_config(
    tree: type[Tree],
    file: Path | None = None,
    flags: Mapping[str, tuple[str, object]] | None = None,
    assignments: Sequence[str] = (),
) -> Tree:
    """Merge a file, command-line flags and ``--set`` assignments, later ones winning, and validate.

    Args:
        tree: The tree's class.
        file: A YAML file, or none.
        flags: For each flag that was given, such as ``--batch-size``, its dotted key and its value; a value
            of ``None`` counts as not given.
        assignments: Texts of the form ``section.key=value``; the value is read as YAML.

    Returns:
        The validated tree.

    Raises:
        ConfigError: With one line a mistake, each with its place and, for an unknown key, the nearest right
            name.
    """
    values: dict[str, object] = {}
    places: dict[Key, str] = {}
    if file is not None:
        content, places = read_yaml(file)
        if not isinstance(content, dict):
            raise ConfigError(f"{file}:1:1: expected sections such as 'data:', found {content!r}.")
        values = content
    for flag, (dotted, value) in (flags or {}).items():
        if value is not None:
            _assign(values, places, dotted, value, flag)
    for assignment in assignments:
        dotted, value = read_assignment(assignment)
        _assign(values, places, dotted, value, f"--set {dotted}")
    return _validated(tree, values, places, file)


def build_config(tree: type[Tree], settings: Iterable[tuple[str, object, str]]) -> Tree:
    """Make a tree of single settings, later ones winning.

    Args:
        tree: The tree's class.
        settings: Dotted key, value, which may be ``None``, and origin, which messages begin with.

    Raises:
        ConfigError: As for :func:`load_config`.
    """
    values: dict[str, object] = {}
    places: dict[Key, str] = {}
    for dotted, value, origin in settings:
        _assign(values, places, dotted, value, origin)
    return _validated(tree, values, places, None)


def read_assignment(assignment: str) -> tuple[str, object]:
    """Read ``section.key=value``, the value as YAML.

    Raises:
        ConfigError: It has no ``=`` or no key.
    """
    dotted, equals, text = assignment.partition("=")
    if not equals or not dotted.strip():
        raise ConfigError(f"--set {assignment}: expected section.key=value.")
    return dotted.strip(), parse_value(text)


def _validated(
    tree: type[Tree], values: Mapping[str, object], places: Mapping[Key, str], file: Path | None
) -> Tree:
    try:
        return tree.model_validate(values)
    except ValidationError as error:
        faults = _without_consequences(error.errors())
        lines = dict.fromkeys(_describe(tree, details, places, file) for details in faults)
        raise ConfigError("\n".join(lines)) from None


def _without_consequences(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where its items are at fault, since pydantic counts the others."""
    return [
        one
        for one in faults
        if one["type"] != "too_short"
        or not any(
            len(other["loc"]) > len(one["loc"]) and other["loc"][: len(one["loc"])] == one["loc"]
            for other in faults
        )
    ]


def dump_config(config: BaseModel) -> str:
    """Write a tree as YAML that :func:`load_config` reads back to the same tree."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _assign(
    values: dict[str, object], places: dict[Key, str], dotted: str, value: object, origin: str
) -> None:
    keys = tuple(dotted.split("."))
    section = values
    for position, key in enumerate(keys[:-1], start=1):
        child = section.get(key)
        if child is None or not isinstance(child, dict):
            # A bare `model: unet` in a file keeps its name when a flag adds to it.
            named: dict[str, object] = {"name": child} if isinstance(child, str) and key == "model" else {}
            section[key] = child = named
        section = child
        places.setdefault(keys[:position], origin)
    section[keys[-1]] = value
    places[keys] = origin


def _describe(
    tree: type[BaseModel], details: ErrorDetails, places: Mapping[Key, str], file: Path | None
) -> str:
    location = _without_union_tags(details["loc"])
    dotted = ".".join(map(str, location))
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        section = _section_at(tree, details["loc"][:-1])
        known = list(section.model_fields) if section else []
        nearest = nearest_name(str(location[-1]), known)
        fix = f"did you mean '{nearest}'?" if nearest else f"known keys here: {', '.join(known)}."
        message = f"unknown key '{dotted}'; {fix}"
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        name = str(value.get("name")) if isinstance(value, dict) else str(value)
        location = (*location, "name")
        nearest = nearest_name(name, [*MODEL_CONFIGS, *COURSE_NAMES])
        hint = f"did you mean '{nearest}'? " if nearest else ""
        message = f"unknown model '{name}'; {hint}Known models: {', '.join(MODEL_CONFIGS)}."
    else:
        reason = details["msg"].removeprefix("Value error, ").replace("Input should", "should", 1)
        subject = dotted
        if details["type"] != "value_error" and not isinstance(value, (dict, BaseModel)):
            subject = f"{dotted} = {value!r}"
        message = f"{subject}: {reason}." if subject else f"{reason}."
    return f"{_place(location, places, file)}{message}"


def _place(location: Key, places: Mapping[Key, str], file: Path | None) -> str:
    for length in range(len(location), 0, -1):
        if location[:length] in places:
            return f"{places[location[:length]]}: "
    return f"{file}: " if file else ""


def _without_union_tags(location: Key) -> Key:
    """Drop the member names that pydantic puts into the place of a value inside a union."""
    return tuple(
        part
        for index, part in enumerate(location)
        if not (index and location[index - 1] == "model" and part in MODEL_CONFIGS)
        and part not in ("literal['auto']", "date", "int", "[key]", "constrained-int")
    )


def _section_at(tree: type[BaseModel], location: Key) -> type[BaseModel] | None:
    section: type[BaseModel] | None = tree
    for part in location:
        if part in MODEL_CONFIGS:
            section = MODEL_CONFIGS[str(part)]
        elif section is not None and part in section.model_fields:
            section = _section_in(section.model_fields[str(part)].annotation)
        else:
            return None
    return section


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType):
        return next((found for member in get_args(annotation) if (found := _section_in(member))), None)
    return None
