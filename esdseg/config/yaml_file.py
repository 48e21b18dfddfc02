"""Reading YAML so that every value knows its place in the file."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from esdseg.errors import ConfigError

Key = tuple[str | int, ...]
"""A value's place in a tree: its keys from the root, such as ``("optimizer", "name")``."""


def read_yaml(path: Path) -> tuple[object, dict[Key, str]]:
    """Read a YAML file with plain values alone.

    Args:
        path: The file.

    Returns:
        The value, and for each key in it its place as ``FILE:LINE:COLUMN``, counted from 1.

    Raises:
        ConfigError: The file is missing, is no YAML, has a key twice or a tag that builds objects.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: is a folder, not a YAML file.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text: {error}.") from None
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        places = {key: f"{path}:{mark.line + 1}:{mark.column + 1}" for key, mark in _walk(node, (), path)}
        return loader.construct_document(node), places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{place}: {error.problem or error.context}.") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: is not readable YAML: {error}.") from None


def parse_value(text: str) -> object:
    """Read one value as YAML does, so that ``3`` is a number and ``[5, 10]`` a list; else it is the text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _walk(node: yaml.Node, key: Key, path: Path) -> Iterator[tuple[Key, yaml.Mark]]:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key_node, value_node in node.value:
            name = str(key_node.value)
            mark = key_node.start_mark
            if name in seen:
                raise ConfigError(f"{path}:{mark.line + 1}:{mark.column + 1}: the key '{name}' stands twice.")
            seen.add(name)
            yield (*key, name), mark
            yield from _walk(value_node, (*key, name), path)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield (*key, index), item.start_mark
            yield from _walk(item, (*key, index), path)
