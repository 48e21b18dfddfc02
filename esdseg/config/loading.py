"""From a file, flags and ``--set`` to one frozen, validated tree; and back to YAML."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, JsonValue, ValidationError
from pydantic_core import ErrorDetails

from esdseg.config.models import COURSE_NAMES, MODEL_CONFIGS, chosen_model, model_uses
from esdseg.config.section import Section, did_you_mean, nearest_hint, nearest_names, shown_value
from esdseg.config.shipped import find_file
from esdseg.errors import ConfigError
from esdseg.sensors.sensors import CONTEST_FILE, SensorTable, contest_sensors

Tree = TypeVar("Tree", bound=Section)

Key = tuple[str | int, ...]
"""A value's place in a tree: its keys from the root, such as ``("optimizer", "name")``."""

MOST_BYTES = 1_000_000
"""Size of the largest file that is read: a thousand times what settings take."""

MOST_VALUES = 10_000
"""Keys and values, each alias counted with all that it stands for: aliases of aliases grow without bound."""


def load_config(
    tree: type[Tree],
    file: Path | None = None,
    flags: Mapping[str, tuple[str, object]] | None = None,
    assignments: Sequence[str] = (),
) -> Tree:
    """Merge a file, command-line flags and ``--set`` assignments, later ones winning, and validate.

    Args:
        tree: The tree's class.
        file: A YAML file, or the name of a recipe that comes with esdseg, such as ``recipes/unet``; or none.
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
        file = find_file(file, "recipes")
        content, places = read_yaml(file)
        if not isinstance(content, dict):
            raise ConfigError(f"{file}:1:1: expected sections such as 'data:', found {content!r}.")
        values = content
    given = [(key, value, flag) for flag, (key, value) in (flags or {}).items() if value is not None]
    assigned = [(key, value, f"--set {key}") for key, value in map(read_assignment, assignments)]
    for key, value, origin in (*given, *assigned):
        _assign(values, places, key, value, origin)
    return _validated(tree, values, places, file)


def load_sensors(file: Path | None) -> SensorTable:
    """Read a description of sensors.

    Args:
        file: A YAML file, or the name of a description that comes with esdseg, such as ``s2-s1``; the
            contest's sensors where ``None``.

    Raises:
        ConfigError: With one line a mistake, as for :func:`load_config`.
    """
    if file is None:
        return contest_sensors()
    shipped = CONTEST_FILE.with_name(f"{file.name.removesuffix('.yml')}.yml")
    is_shipped = len(file.parts) == 1 and not file.exists() and shipped.is_file()
    return load_config(SensorTable, shipped if is_shipped else file)


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


def plain_values(config: Section) -> dict[str, JsonValue]:
    """Return a tree as plain values, without the keys that its model or command has no use for."""

    def acting(values: dict[str, JsonValue], above: str) -> dict[str, JsonValue]:
        kept: dict[str, JsonValue] = {}
        for key, value in values.items():
            if config.refusal_of(f"{above}{key}") is None:
                kept[key] = acting(value, f"{above}{key}.") if isinstance(value, dict) else value
        return kept

    return acting(config.model_dump(mode="json"), "")


def dump_config(config: Section) -> str:
    """Write :func:`plain_values` as YAML, from which :func:`load_config` makes the same tree."""
    return yaml.safe_dump(plain_values(config), sort_keys=False, allow_unicode=True)


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


def _validated(
    tree: type[Tree], values: Mapping[str, object], places: Mapping[Key, str], file: Path | None
) -> Tree:
    try:
        config = tree.model_validate(values)
    except ValidationError as error:
        faults: dict[Key, list[ErrorDetails]] = {}
        for fault in _without_consequences(error.errors()):
            faults.setdefault(_without_union_tags(fault["loc"]), []).append(fault)
        model = chosen_model(values.get("model", {}))
        lines = [_describe(tree, model, key, found, places, file) for key, found in faults.items()]
        raise ConfigError("\n".join(dict.fromkeys(lines))) from None
    except UnicodeEncodeError as error:
        # A message of ours has a value in it that pydantic cannot pass on.
        raise ConfigError(f"a value holds bytes that are no text: {_shorten(ascii(error.object))}.") from None
    refused = [
        f"{_place(key, places, file)}{refusal}."
        for key in _leaves(values)
        if (refusal := config.refusal_of(".".join(map(str, key)))) is not None
    ]
    if refused:
        raise ConfigError("\n".join(refused))
    return config


def _leaves(values: Mapping[str, object], above: Key = ()) -> Iterator[Key]:
    """Yield the key of every value that is no section."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield (*above, key)


def _without_consequences(faults: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Leave out that a list is too short where its items are at fault, since pydantic counts the others."""
    places = [fault["loc"] for fault in faults]
    return [
        fault
        for fault, place in zip(faults, places, strict=True)
        if fault["type"] != "too_short"
        or not any(len(other) > len(place) and other[: len(place)] == place for other in places)
    ]


EXPECTED = {
    **dict.fromkeys(("int_parsing", "int_parsing_size", "int_type", "int_from_float"), "a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "true or false"),
    **dict.fromkeys(("string_type", "string_unicode"), "text"),
    **dict.fromkeys(("tuple_type", "list_type"), "a list, such as [1, 2]"),
    **dict.fromkeys(("date_parsing", "date_type", "date_from_datetime_parsing"), "a date such as 2020-08-16"),
    "date_from_datetime_inexact": "a date without a time of day",
    "path_type": "a path",
    "dict_type": "a mapping, such as {name: value}",
    "invalid_key": "text",
}
"""What should stand in place of a value, in the user's words, by pydantic's names of mistakes."""


def _describe(
    tree: type[BaseModel],
    model: str | None,
    key: Key,
    faults: Sequence[ErrorDetails],
    places: Mapping[Key, str],
    file: Path | None,
) -> str:
    """Say what is wrong at a key, and where that stands.

    Args:
        tree: The tree's class.
        model: The model that is chosen, as it is listed; ``None`` where there is none of the name.
        key: The key.
        faults: Why its value is refused; several where it may be of several kinds, and is of none.
        places: Where values come from, by key.
        file: The file that they come from unless it is said.
    """
    dotted = ".".join(map(str, key))
    kind, value = faults[0]["type"], faults[0]["input"]
    if kind == "extra_forbidden":
        message = _unknown_key(tree, model, key, faults[0])
    elif kind in ("union_tag_invalid", "union_tag_not_found"):
        named = value.get("name") if isinstance(value, dict) else value
        name = named if isinstance(named, str) else shown_value(named)
        key = (*key, "name")
        hint = nearest_hint(name, [*MODEL_CONFIGS, *COURSE_NAMES])
        message = f"unknown model '{name}'; {hint}Known models: {', '.join(MODEL_CONFIGS)}."
    elif own := [fault for fault in faults if fault["type"] == "value_error"]:
        reason = own[0]["msg"].removeprefix("Value error, ")
        message = f"{dotted}: {reason}." if dotted else f"{reason}."
    else:
        of_key = [fault for fault in faults if fault["loc"][-1:] == ("[key]",)]
        expected = " or ".join(dict.fromkeys(_expected(tree, key, fault) for fault in of_key or faults))
        shown = "" if isinstance(value, (dict, BaseModel)) else _shorten(shown_value(value))
        subject = " = ".join(filter(None, (dotted, shown)))
        message = f"{subject}: should {expected.replace(' or be ', ' or ')}."
    return f"{_place(key, places, file)}{message}"


def _expected(tree: type[BaseModel], key: Key, fault: ErrorDetails) -> str:
    """Return what should stand at a key, such as ``be a whole number``."""
    kind = fault["type"]
    if kind in EXPECTED:
        return f"be {EXPECTED[kind]}"
    section = _section_at(tree, fault["loc"])
    if section is not None:
        return f"hold settings, such as {'.'.join(map(str, (*key, next(iter(section.model_fields)))))}"
    words = fault["msg"].partition("should ")[2] or fault["msg"]
    return words.partition(" after validation")[0]


def _unknown_key(tree: type[BaseModel], model: str | None, key: Key, fault: ErrorDetails) -> str:
    """Say what was probably meant by a key that there is not."""
    dotted, last = ".".join(map(str, key)), str(key[-1])
    # Only this message needs the settings of a training, which take a tenth of a second to load.
    from esdseg.config.training import ESDConfig

    if key[0] in ESDConfig.model_fields and key[0] not in tree.model_fields:
        return f"{dotted} is a setting of `esdseg train`; this command has none of them, so leave it out."
    settings = setting_names(tree, (model,) if model else tuple(MODEL_CONFIGS))
    of_model = dotted if key[0] == "model" else f"model.{dotted}"
    is_known = any(setting.endswith(f".{dotted}") for setting in settings)
    owners = [name for name in MODEL_CONFIGS if model_uses(name, of_model)]
    if "model" in tree.model_fields and owners and not is_known:
        return f"{of_model} is a setting of {', '.join(owners)}, and the model is {model}; leave it out."
    section = _section_at(tree, fault["loc"][:-1])
    known = list(section.model_fields) if section else []
    above = "".join(f"{part}." for part in key[:-1])
    names = [f"{above}{name}" for name in nearest_names(last, known)] or nearest_settings(last, settings)
    fix = did_you_mean(names) or f"known keys here: {', '.join(known)}."
    return f"unknown key '{dotted}'; {fix}"


def setting_names(tree: type[BaseModel], models: Iterable[str] = tuple(MODEL_CONFIGS)) -> tuple[str, ...]:
    """Return the dotted names of all settings in a tree.

    Args:
        tree: The tree's class.
        models: The models whose settings are among them, where the tree has a model.
    """
    names = [name for name in _settings_in(tree, "") if not name.startswith("model.")]
    if "model" in tree.model_fields:
        for model in models:
            names += _settings_in(MODEL_CONFIGS[model], "model.")
    return tuple(dict.fromkeys(names))


def nearest_settings(name: str, settings: Iterable[str]) -> tuple[str, ...]:
    """Return the settings that a name, dotted or not, may stand for: three at most, the likeliest first."""
    written = {setting.rpartition(".")[2]: setting for setting in settings}
    written |= {setting: setting for setting in settings}
    likely = get_close_matches(name, written, n=len(written), cutoff=0.6)
    return tuple(dict.fromkeys(written[match] for match in likely))[:3]


def _settings_in(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from _settings_in(annotation, f"{prefix}{name}.")
        elif f"{prefix}{name}" != "model":
            yield f"{prefix}{name}"


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
    is_mapping = False
    for part in location:
        if part in MODEL_CONFIGS:
            section = MODEL_CONFIGS[str(part)]
        elif is_mapping:
            # The name of an entry, such as a sensor's, whose section is known already.
            is_mapping = False
        elif section is not None and part in section.model_fields:
            annotation = section.model_fields[str(part)].annotation
            is_mapping = get_origin(annotation) in (dict, tuple)
            section = _section_in(annotation)
        elif section is not None and section.model_config.get("extra") == "allow":
            section = _section_in(section.__annotations__["__pydantic_extra__"])
        else:
            return None
    return section


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, UnionType, Annotated, dict, tuple):
        return next((found for member in get_args(annotation) if (found := _section_in(member))), None)
    return None


def read_yaml(path: Path) -> tuple[object, dict[Key, str]]:
    """Read a YAML file with plain values alone.

    Args:
        path: The file.

    Returns:
        The value, and for each key in it its place as ``FILE:LINE:COLUMN``, counted from 1.

    Raises:
        ConfigError: The file is missing, is no YAML, is too large or unfolds to too much, has a key twice, a
            value that is not what it is written as, or a tag that builds objects.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a YAML file.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}.") from None
    if len(content) > MOST_BYTES:
        raise ConfigError(f"{path}: is larger than {MOST_BYTES:,} bytes; settings take a few thousand.")
    try:
        value, marks = _load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{place}: {error.problem or error.context}.") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply; settings lie a few levels deep.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not readable YAML: {error}.") from None
    places = {key: f"{path}:{mark.line + 1}:{mark.column + 1}" for key, mark in marks.items()}
    return {} if value is None else value, places


def parse_value(text: str) -> object:
    """Read one value as YAML does, so that ``3`` is a number and ``[5, 10]`` a list; else it is the text."""
    try:
        return _load(text)[0]
    except (yaml.YAMLError, RecursionError):
        return text


def _load(text: str) -> tuple[object, dict[Key, yaml.Mark]]:
    """Read a YAML text; return its value, ``None`` where it is empty, and the place of each key."""
    loader = _PlainLoader(text)
    node = loader.get_single_node()
    if node is None:
        return None, {}
    # Before anything is built: aliases of aliases may stand for more than fits into memory.
    marks = dict(_walk(node))
    return loader.construct_document(node), marks


class _PlainLoader(yaml.SafeLoader):
    """Builds plain values alone, and tells the place of one that cannot be built."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        # A date of month 13, a number of 5000 digits, `!!bool maybe`: each constructor fails in its own way.
        except (ValueError, KeyError, AttributeError, TypeError, OverflowError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                problem=f"{_shorten(str(node.value))} is no {kind}", problem_mark=node.start_mark
            ) from None


def _walk(root: yaml.Node) -> Iterator[tuple[Key, yaml.Mark]]:
    """Yield every key of a tree with its place.

    Raises:
        yaml.MarkedYAMLError: A key stands twice or is no plain text, or there are too many values.
    """
    values = 0

    def walk(node: yaml.Node, key: Key) -> Iterator[tuple[Key, yaml.Mark]]:
        nonlocal values
        values += 1
        if values > MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST_VALUES:,} values, those that aliases stand for included",
                problem_mark=root.start_mark,
            )
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key_node, value_node in node.value:
                mark = key_node.start_mark
                if not isinstance(key_node, yaml.ScalarNode):
                    raise yaml.MarkedYAMLError(problem="a key is not plain text", problem_mark=mark)
                name = str(key_node.value)
                if name in seen:
                    problem = f"the key '{_shorten(name)}' stands twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
                seen.add(name)
                yield (*key, name), mark
                yield from walk(value_node, (*key, name))
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                yield (*key, index), item.start_mark
                yield from walk(item, (*key, index))

    return walk(root, ())


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}..."
