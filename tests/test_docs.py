"""What README and docs tell a reader to type is there to be typed."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import typer

from esdseg.cli.app import app
from esdseg.config.training import ESDConfig

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
CODE = re.compile(r"```.*?```|`[^`]+`", re.DOTALL)
COMMAND = re.compile(r"(?:^ *|&& |`)esdseg ((?:config )?[a-z]+)\b((?:[^`#\n|&]|\\\n)*)", re.MULTILINE)
README_LINES = 120
PARAGRAPH_LINES = 4


@cache
def flags() -> dict[str, set[str]]:
    """Return the long and short flags of each subcommand."""
    group: Any = typer.main.get_command(app)
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        for below, inner in getattr(command, "commands", {"": command}).items():
            options = {flag for option in inner.params for flag in (*option.opts, *option.secondary_opts)}
            found[f"{name} {below}".strip()] = options | {"--help"}
    return found


def commands_of(page: Path) -> Iterator[tuple[str, list[str]]]:
    code = "\n".join(CODE.findall(page.read_text(encoding="utf-8")))
    for match in COMMAND.finditer(code):
        yield match[1], re.findall(r"(?<=\s)--?[a-z][a-z-]*", re.sub(r"'[^']*'", "", match[2]))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_a_page_are_commands_with_these_flags(page: Path) -> None:
    for command, used in commands_of(page):
        assert command in flags(), f"{page.name}: esdseg {command}"
        assert set(used) <= flags()[command], f"{page.name}: esdseg {command} {' '.join(used)}"


def test_pages_with_commands_are_read() -> None:
    assert sum(len(list(commands_of(page))) for page in PAGES) > 60


def test_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= README_LINES
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for paragraph in re.split(r"\n\s*\n|\n- ", prose):
        assert len(paragraph.strip().splitlines()) <= PARAGRAPH_LINES, paragraph


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            # Pages of the reference are made when the site is built.
            assert (page.parent / target).exists() or target.startswith("reference/"), (
                f"{page.name}: {target}"
            )


def test_the_page_of_settings_has_every_setting_of_a_training_and_what_it_means() -> None:
    made = run_path(str(ROOT / "docs/hooks.py"))["settings_page"]()
    rows = dict(re.findall(r"^\| `([^`]+)` \|.*\| ([^|]*) \|$", made, re.MULTILINE))
    assert not [key for key, meaning in rows.items() if not meaning.strip()]

    def keys(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
        for key, value in values.items():
            yield from keys(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

    assert set(keys(ESDConfig().model_dump())) - {"model.name"} <= set(rows)
