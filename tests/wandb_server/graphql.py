"""GraphQL as far as wandb's client speaks it: a parser of queries, and answers from plain values."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Field = tuple[str, str, Any, Any]
"""Alias, name, arguments, and the fields below it."""


class RefusedError(Exception):
    """An answer other than 200, as the real server words it."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


TOKEN = re.compile(
    r'"""(?:.|\n)*?"""|"(?:\\.|[^"\\])*"|\.\.\.|[{}()\[\]:=!@$|]|[_A-Za-z]\w*|-?\d+(?:\.\d+)?|\#[^\n]*'
)


class Document:
    """A parsed query: its operation's fields, and its fragments."""

    def __init__(self, text: str) -> None:
        self.tokens = [token for token in TOKEN.findall(text) if not token.startswith("#")]
        self.at = 0
        self.fragments: dict[str, list[Field]] = {}
        self.fields: list[Field] = []
        self.defaults: dict[str, Any] = {}
        self.kind = self.name = ""
        while self.at < len(self.tokens):
            word = self._next()
            if word == "fragment":
                name = self._next()
                self._expect("on")
                self._next()
                self._directives()
                self.fragments[name] = self._selection()
            elif word in ("query", "mutation"):
                self.kind = word
                if self._peek() not in ("{", "("):
                    self.name = self._next()
                if self._peek() == "(":
                    self._variables()
                self._directives()
                self.fields = self._selection()
            elif word == "{":
                self.at -= 1
                self.kind, self.fields = "query", self._selection()
            else:
                raise RefusedError(400, f"Syntax Error: Unexpected {word}")

    def _peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def _next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1]

    def _expect(self, token: str) -> None:
        if (found := self._next()) != token:
            raise RefusedError(400, f"Syntax Error: Expected {token}, found {found}")

    def _variables(self) -> None:
        self._expect("(")
        while self._peek() != ")":
            self._expect("$")
            name = self._next()
            self._expect(":")
            while self._peek() not in ("$", ")", "="):
                self._next()
            if self._peek() == "=":
                self._next()
                self.defaults[name] = self._value()
        self._next()

    def _directives(self) -> None:
        while self._peek() == "@":
            self._next()
            self._next()
            if self._peek() == "(":
                self._arguments()

    def _arguments(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._expect("(")
        while self._peek() != ")":
            name = self._next()
            self._expect(":")
            found[name] = self._value()
        self._next()
        return found

    def _value(self) -> Any:
        token = self._next()
        if token == "$":
            return ("variable", self._next())
        if token == "{":
            found: dict[str, Any] = {}
            while self._peek() != "}":
                name = self._next()
                self._expect(":")
                found[name] = self._value()
            self._next()
            return found
        if token == "[":
            items: list[Any] = []
            while self._peek() != "]":
                items.append(self._value())
            self._next()
            return items
        if token.startswith('"'):
            return json.loads(token)
        if re.fullmatch(r"-?[\d.]+", token):
            return float(token) if "." in token else int(token)
        return {"true": True, "false": False, "null": None}.get(token, token)

    def _selection(self) -> list[Field]:
        fields: list[Field] = []
        self._expect("{")
        while self._peek() != "}":
            if self._peek() == "...":
                self._next()
                if self._peek() == "on":
                    self._next()
                    self._next()
                    self._directives()
                    fields += self._selection()
                elif self._peek() == "{":
                    fields += self._selection()
                else:
                    fields.append(("...", self._next(), None, None))
                    self._directives()
                continue
            alias = name = self._next()
            if self._peek() == ":":
                self._next()
                name = self._next()
            arguments: Any = self._arguments() if self._peek() == "(" else {}
            self._directives()
            fields.append((alias, name, arguments, self._selection() if self._peek() == "{" else None))
        self._next()
        return fields


class Execution:
    """Answers a document from a tree of dicts, lists, values, and functions of a field's arguments."""

    def __init__(self, document: Document, variables: Mapping[str, Any], problems: list[str]) -> None:
        self.document, self.problems = document, problems
        self.variables = {**document.defaults, **variables}

    def select(self, value: Any, fields: Sequence[Field] | None, where: str) -> Any:
        if value is None or fields is None:
            return value
        if isinstance(value, list):
            return [self.select(item, fields, where) for item in value]
        answer: dict[str, Any] = {}
        for alias, name, arguments, inner in fields:
            if alias == "...":
                answer |= self.select(value, self.document.fragments[name], where)
                continue
            found = value.get(name, KeyError)
            if name == "__typename":
                found = value.get(name, where.rpartition(".")[2])
            if found is KeyError:
                self.problems.append(f"unknown field {where}.{name} in {self.document.name or 'a query'}")
                found = None
            if callable(found):
                found = found(**self._filled(arguments))
            answer[alias] = self.select(found, inner, f"{where}.{name}")
        return answer

    def _filled(self, value: Any) -> Any:
        if isinstance(value, tuple):
            return self.variables.get(value[1])
        if isinstance(value, dict):
            return {name: self._filled(item) for name, item in value.items()}
        return [self._filled(item) for item in value] if isinstance(value, list) else value


def connection(nodes: Sequence[Any], first: int | None = None, after: str | None = None) -> dict[str, Any]:
    """Return a page of a list, as GraphQL's connections are."""
    start = int(after) if after else 0
    end = min(len(nodes), start + first) if first else len(nodes)
    return {
        "edges": [{"node": node, "cursor": str(start + i + 1)} for i, node in enumerate(nodes[start:end])],
        "pageInfo": {"endCursor": str(end), "hasNextPage": end < len(nodes), "__typename": "PageInfo"},
    }
