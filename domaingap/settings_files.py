"""YAML files of settings, read in one way: words mean what YAML 1.2 says, and no key stands twice.

PyYAML reads YAML 1.1, where ``off`` is false, ``12:30`` is 750 and ``1e-4`` is text. Its composer is used here, which
knows lines; what a word means is decided by this module.
"""

from __future__ import annotations

import codecs
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from domaingap.errors import UserError

LARGEST_FILE = 1 << 20
"""Bytes of a file of settings: more is something else."""
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""What a file begins with that says in which encoding it is."""

WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
SPECIAL = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
LONGEST_NUMBER = 1000
"""Digits; Python makes no number of much more of them."""


DEEP = "nested too deeply for settings"
MOST_VALUES = 100_000
"""Values in a file, aliases followed: a line of aliases can stand for more than the memory holds."""


@dataclass(frozen=True)
class Value:
    """A value of a file that is no mapping of others.

    Attributes:
        value: text, number, true or false, None, a list, or an empty mapping.
        text: as it stands in the file; empty of a list or mapping.
        line: counted from 1.
    """

    value: Any
    text: str
    line: int


@dataclass(frozen=True)
class Document:
    """A document, which is a mapping.

    Attributes:
        content: its keys and values.
        values: the values by dotted key, whether they are nested or written with dots.
        lines: where each key stands, that of a section as well.
    """

    content: dict[str, Any]
    values: dict[str, Value]
    lines: dict[str, int]


def text_file(path: Path, what: str) -> str:
    """A text file in UTF-8, or in UTF-16 with a mark that says so.

    Raises:
        UserError: it can't be read, with what to give; or in another encoding, with the line.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        here = f" below {Path.cwd()}" if isinstance(error, FileNotFoundError) and not path.is_absolute() else ""
        problem = {"FileNotFoundError": "no such file", "IsADirectoryError": "a folder"}.get(type(error).__name__)
        raise UserError(f"{path}: {problem or getattr(error, 'strerror', None) or error}{here}; give {what}") from error
    if len(content) > LARGEST_FILE:
        raise UserError(f"{path}: larger than {LARGEST_FILE >> 20} MB; give {what}")
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if b"\0" in content[:64]:
            raise UserError(f"{path}: not a text file in UTF-8; give {what}") from error
        line = content[: error.start].count(b"\n") + 1
        found = f"not {encoding.removesuffix('-sig').upper()} (byte 0x{content[error.start]:02x})"
        raise UserError(f"{path}:{line}: {found}; save the file as UTF-8, or give {what}") from error
    if "\0" in text:
        raise UserError(f"{path}: not a text file in UTF-8; save it as UTF-8, or give {what}")
    return text


def documents(path: Path, what: str) -> list[Document]:
    """The documents of a YAML file; empty ones are left out.

    Raises:
        UserError: with file and line: no such file, not YAML, no mapping, a key twice.
    """
    return [_Reader(str(path), what).document(node) for node in _compose(text_file(path, what), str(path))]


@functools.lru_cache(maxsize=16)
def settings_in(text: str, where: str, what: str) -> Document:
    """The one document of a text that comes from ``where``; UserError as :func:`documents`, and where there are several.

    Kept, for the hundreds of runs of a sweep that name the same file: not to be changed.
    """
    nodes = _compose(text, where)
    if len(nodes) > 1:
        raise UserError(f"{where}:{_line(nodes[1])}: a second document; settings are one ('---' begins another)")
    return _Reader(where, what).document(nodes[0]) if nodes else Document({}, {}, {})


class _Loader(yaml.SafeLoader):
    """Leaves open what unquoted words mean."""

    yaml_implicit_resolvers: dict[Any, Any] = {None: [("unquoted", re.compile(""))]}


def _compose(text: str, where: str) -> list[yaml.Node]:
    try:
        nodes: list[yaml.Node] = list(yaml.compose_all(text, _Loader))
    except RecursionError as error:
        raise UserError(f"{where}: {DEEP}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "can't be parsed"
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        hint = "; indent with blanks" if "'\\t'" in problem else ""
        raise UserError(f"{where}:{line}: not YAML ({problem}){hint}") from error
    return [node for node in nodes if not (node.tag == "unquoted" and word(node.value) is None)]


class _Reader:
    """Makes a document of nodes."""

    def __init__(self, where: str, what: str) -> None:
        self.where, self.what, self.left = where, what, MOST_VALUES
        self.values: dict[str, Value] = {}
        self.lines: dict[str, int] = {}

    def document(self, node: yaml.Node) -> Document:
        if not isinstance(node, yaml.MappingNode):
            raise self.error(_line(node), f"holds no 'key: value'; give {self.what}")
        try:
            content: dict[str, Any] = self.plain(node, "", ())
        except RecursionError as error:
            raise UserError(f"{self.where}: {DEEP}") from error
        for key, value in self.values.items():
            outer = key
            while outer := outer.rpartition(".")[0]:
                if outer in self.values and self.values[outer].value not in (None, {}):
                    other = f"line {self.values[outer].line} sets {outer} itself"
                    raise self.error(value.line, f"{key} is set, and {other}; take one out")
        return Document(content, self.values, self.lines)

    def plain(self, node: yaml.Node, key: str, inside: tuple[yaml.Node, ...]) -> Any:
        """What a node is, its values and lines written down under ``key``."""
        self.spend(node, inside)
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in ("unquoted", "str", "int", "float", "bool", "null", "map", "seq"):
            raise self.error(_line(node), f"{key}: a value of type {node.tag}; settings are plain words and numbers")
        if isinstance(node, yaml.MappingNode):
            made: dict[str, Any] = {}
            for name, (line, item) in self.pairs(node, inside).items():
                full = f"{key}.{name}".lstrip(".")
                if full in self.lines and not (isinstance(item, yaml.MappingNode) and full not in self.values):
                    raise self.error(line, f"{full} stands twice, first in line {self.lines[full]}; take one out")
                self.lines.setdefault(full, line)
                made[name] = self.plain(item, full, (*inside, node))
                if not made[name] or not isinstance(item, yaml.MappingNode):
                    text = item.value if isinstance(item, yaml.ScalarNode) else ""
                    self.values[full] = Value(made[name], text, line)
            return made
        if isinstance(node, yaml.SequenceNode):
            return [self.item(item, (*inside, node)) for item in node.value]
        return node.value if kind == "str" else word(node.value)

    def item(self, node: yaml.Node, inside: tuple[yaml.Node, ...]) -> Any:
        """What an item of a list is; keys in it belong to no setting."""
        if not isinstance(node, yaml.MappingNode):
            return self.plain(node, "a list", inside)
        self.spend(node, inside)
        return {name: self.item(value, (*inside, node)) for name, (_, value) in self.pairs(node, inside).items()}

    def pairs(self, node: yaml.MappingNode, inside: tuple[yaml.Node, ...]) -> dict[str, tuple[int, yaml.Node]]:
        """A mapping's keys with lines and values; those that it merges in (``<<``) give way to its own."""
        own: dict[str, tuple[int, yaml.Node]] = {}
        merged: dict[str, tuple[int, yaml.Node]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(_line(key), "a key is a word, not a list or mapping")
            if key.value == "<<" and key.tag == "unquoted":
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(other, yaml.MappingNode):
                        raise self.error(_line(key), "'<<' takes a mapping, such as *defaults")
                    self.spend(other, (*inside, node))
                    merged = {**self.pairs(other, (*inside, node)), **merged}
            elif key.value in own:
                first = own[key.value][0]
                raise self.error(_line(key), f"{key.value} stands twice, first in line {first}; take one out")
            else:
                own[key.value] = (_line(key), value)
        return {**merged, **own}

    def spend(self, node: yaml.Node, inside: tuple[yaml.Node, ...]) -> None:
        """Count a node; aliases make much of little text, or a value that holds itself."""
        self.left -= 1
        if self.left < 0:
            raise UserError(f"{self.where}: more than {MOST_VALUES} values; settings are fewer")
        if any(node is outer for outer in inside):
            raise self.error(_line(node), "a value that holds itself; write it out without an alias")

    def error(self, line: int, problem: str) -> UserError:
        """What is wrong in a line."""
        return UserError(f"{self.where}:{line}: {problem}")


def word(text: str) -> Any:
    """What an unquoted word means by YAML 1.2's core schema."""
    if text.lower() in WORDS and text in (text.lower(), text.lower().capitalize(), text.upper()):
        return WORDS[text.lower()]
    if INTEGER.fullmatch(text) and len(text) < LONGEST_NUMBER:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if FLOAT.fullmatch(text):
        return float(text)
    if SPECIAL.fullmatch(text):
        return float(text.replace(".", ""))
    return text


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
