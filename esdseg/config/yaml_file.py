"""Reading YAML, also a stranger's: plain values alone, and every value knows its place in the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from esdseg.errors import ConfigError

Key = tuple[str | int, ...]
"""A value's place in a tree: its keys from the root, such as ``("optimizer", "name")``."""

MOST_BYTES = 1_000_000
"""Size of the largest file that is read: a thousand times what settings take."""

MOST_VALUES = 10_000
"""Keys and values, each alias counted with all that it stands for: aliases of aliases grow without bound."""


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
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return {}, {}
        places = {key: f"{path}:{mark.line + 1}:{mark.column + 1}" for key, mark in _walk(node)}
        return loader.construct_document(node), places
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError(f"{place}: {error.problem or error.context}.") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply; settings lie a few levels deep.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not readable YAML: {error}.") from None


def parse_value(text: str) -> object:
    """Read one value as YAML does, so that ``3`` is a number and ``[5, 10]`` a list; else it is the text."""
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        for _ in _walk(node):
            pass
        return loader.construct_document(node)
    except (yaml.YAMLError, RecursionError):
        return text


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


def _shorten(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
