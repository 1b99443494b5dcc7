"""Seeded damage: to bytes, to text, and to the structure of what JSON, YAML and checkpoints hold."""

from __future__ import annotations

import contextlib
import copy
import math
import os
import re
import string
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NUMBERS = (
    "nan", "inf", "-inf", "NaN", "Infinity", "-Infinity", "1e400", "-1e-400", "1e308", "-1e308", "1e30", "0", "-0", "-1",
    "9" * 400, "9" * 5000, "0x10", "1_000", "１２", "٣", "²", "+5", "--5", "−5", "1,5", "1.5.5", "", "true", "null", "68.0",
    "1 2", "1e5", "2147483648", "4294967296", "9223372036854775808", "-9223372036854775809", ".", "e", "1e", "🙂",
)  # fmt: skip
"""What may stand where a number is expected."""
SPACES = (" ", "\t", "\u00a0", "\u3000", "\u2028", "\u0085", "\x0b", "\x0c", "\x1c", "\x00", "\r", "\ufeff", "\u200b")
LINES = ("x" * 100_000, "1 " * 50_000, "[" * 20_000, "{" * 20_000, "#", "\x1b[31mred", "é" * 9)
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


class Damage(Random):
    """What decides on the damage of an input by its number; ``whole`` does none: the control that shows what is taken."""

    number = 0
    whole = False


def times(rng: Damage) -> int:
    """How many changes to make: mostly one, as more of them hide each other."""
    return rng.choice((1, 1, 1, 2, 3, 5))


def mutate_bytes(rng: Damage, data: bytes) -> bytes:
    """The bytes with some damage."""
    if rng.whole:
        return data
    result = bytearray(data)
    for _ in range(times(rng)):
        at = rng.randrange(len(result) + 1)
        end = min(len(result), at + rng.choice((1, 2, 4, 16, 64, 1024)))
        match rng.randrange(13):
            case 0 | 1 if result:
                for _ in range(rng.choice((1, 1, 8, 64))):
                    result[rng.randrange(len(result))] ^= 1 << rng.randrange(8)
            case 2:
                del result[at:]
            case 3:
                result[at:at] = rng.randbytes(rng.choice((1, 3, 16, 256)))
            case 4:
                result[at:at] = result[at:end]
            case 5:
                del result[at:end]
            case 6:
                result[at:end] = rng.choice((b"\x00", b"\xff", b" ", b"9")) * (end - at)
            case 7:
                number = rng.choice(INTEGERS)
                result[at : at + 4] = number.to_bytes(4, rng.choice(("little", "big")))
            case 8:
                result[:0] = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"\x00", b"PK\x03\x04", b"\x80\x02"))
            case 9:
                result += rng.choice((bytes(result), b"\x00" * 512, b"\n" * 64, rng.randbytes(64)))
            case 10 if len(result) > 64:
                # Headers are where sizes stand.
                result[rng.randrange(64)] = rng.randrange(256)
            case 11:
                result[at : at + 8] = rng.choice(INTEGERS).to_bytes(8, "little")
            case _:
                if rng.random() < 0.2:
                    result = bytearray(rng.choice((b"", b"\x00", b"\n", rng.randbytes(200), b"\xff" * 4096)))
    return bytes(result)


def encode(rng: Damage, text: str) -> bytes:
    """Text as a file has it: mostly UTF-8, at times in what other programs write."""
    if rng.whole:
        return text.encode()
    codec = rng.choice(("utf-8",) * 12 + ("utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252", "cp037"))
    return text.encode(codec, "replace" if codec in ("latin-1", "cp1252", "cp037") else "surrogatepass")


def mutate_text(rng: Damage, text: str) -> bytes:
    """Lines and numbers with some damage, encoded."""
    for _ in range(0 if rng.whole else times(rng)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        match rng.randrange(14):
            case 0 | 1 | 2 | 3:
                numbers = list(re.finditer(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", text))
                if numbers:
                    found = rng.choice(numbers)
                    text = text[: found.start()] + rng.choice(NUMBERS) + text[found.end() :]
            case 4:
                del lines[at]
                text = "\n".join(lines)
            case 5:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
                text = "\n".join(lines)
            case 6:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
                text = "\n".join(lines)
            case 7:
                lines[at] = rng.choice(
                    ("x" * 100_000, "1 " * 50_000, "[" * 20_000, "{" * 20_000, "#", "\x1b[31mred", "é" * 9)
                )
                text = "\n".join(lines)
            case 8:
                text = text.replace("\n", rng.choice(("\r\n", "\r", "\n\n", "\u2028", "\x0b", "", " ")))
            case 9:
                text = text.replace(" ", rng.choice(SPACES), rng.choice((1, -1)))
            case 10:
                words = re.findall(r"[A-Za-z_]+", text)
                if words:
                    word = rng.choice(words)
                    text = text.replace(word, rng.choice((word.upper(), word[:-1], word + "x", "", "!" + word)), 1)
            case 11:
                where = rng.randrange(len(text) + 1)
                text = text[:where] + rng.choice((*SPACES, *"{}[]():,;'\"\\/&*!|>%@`#-", "\ud800")) + text[where:]
            case 12:
                text = text[: rng.randrange(len(text) + 1)]
            case _:
                return mutate_bytes(rng, encode(rng, text))
    return encode(rng, text)


def _deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 1.5, -0.0, 1e308, math.nan, math.inf, -math.inf, 2**31, 2**63, -(2**63) - 1, 10**400,
    10**5000, "", " ", "x", "nan", "1", "null", "off", "x" * 10_000, "a\nb", "\x1b[31m", "[red]x[/red]", "../x", "/dev/null",
    "/", "~", "\u0000", "\ud800", "é", "${HOME}", [], {}, [[]], [None], [1], ["x"], {"x": 1}, {"": {}}, [0] * 1000,
    {"values": []}, _deep(50), _deep(200),
)  # fmt: skip


def values(rng: Damage) -> Any:
    """Something of another type or size than what is expected."""
    return copy.deepcopy(rng.choice(VALUES))


Node = tuple[Any, Any]
"""A container and a key of it."""


def nodes(tree: Any) -> list[Node]:
    """Every place of a tree of dictionaries and lists that holds something."""
    found: list[Node] = []
    left, seen = [tree], set[int]()
    while left:
        container = left.pop()
        if isinstance(container, dict | list) and id(container) not in seen:
            seen.add(id(container))
            keys = list(container) if isinstance(container, dict) else range(len(container))
            found += [(container, key) for key in keys]
            left += [container[key] for key in keys]
    return found


def mutate_tree(rng: Damage, tree: Any, more: Sequence[Callable[[Damage, Any], Any]] = ()) -> Any:
    """A copy of a tree of dictionaries and lists with keys missing, renamed, retyped, doubled, moved.

    Args:
        rng: decides.
        tree: what JSON, YAML or a checkpoint holds.
        more: further ways to change a value into another.
    """
    tree = copy.deepcopy(tree)
    if rng.whole:
        return tree
    if rng.random() < 0.03:
        return values(rng)
    for _ in range(times(rng)):
        places = nodes(tree)
        if not places:
            return tree
        # By depth, or long lists at the bottom would get all of the damage.
        top = nodes_of(tree)
        container, key = rng.choice(top if rng.random() < 0.25 else places)
        match rng.randrange(9):
            case 0:
                del container[key]
            case 1 if isinstance(container, dict):
                new = rng.choice((str(key) + "x", str(key).upper(), "", " " + str(key), "x", 1, None, True))
                container[new] = container.pop(key)
            case 2 if isinstance(container, list):
                container.insert(key, copy.copy(container[key]))
            case 3:
                container[key] = [container[key]]
            case 4:
                other, place = rng.choice(places)
                container[key] = copy.deepcopy(other[place])
            case 5 if isinstance(container, dict):
                container[rng.choice(("x", "", "a.b", "value", "class_path", "__class__", 1, None))] = values(rng)
            case 6 if more:
                container[key] = rng.choice(more)(rng, container[key])
            case 7 if isinstance(container[key], int | float) and not isinstance(container[key], bool):
                with contextlib.suppress(OverflowError):
                    container[key] *= rng.choice((-1, 0, 2, 1e6, 1e300, 0.5))
            case _:
                container[key] = values(rng)
    return tree


def nodes_of(tree: Any) -> list[Node]:
    """The places near the root."""
    if not isinstance(tree, dict | list):
        return []
    keys = list(tree) if isinstance(tree, dict) else range(min(len(tree), 5))
    found = [(tree, key) for key in keys]
    for key in keys:
        if isinstance(tree[key], dict):
            found += [(tree[key], inner) for inner in tree[key]]
    return found


def word(rng: Damage) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=6))


# What must never be carried out: it leaves a file behind where it is.

CANARY = "FUZZ_CANARY"
"""The environment variable that names the file."""


def sing(how: str) -> None:
    """What a payload does."""
    with open(os.environ[CANARY], "a", encoding="utf-8") as file:
        file.write(how + "\n")


class Payload:
    """Whoever unpickles it runs code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (sing, ("pickle",))


SHELL_PAYLOAD = "echo yaml >> $" + CANARY
YAML_PAYLOADS = (
    f"!!python/object/apply:os.system ['{SHELL_PAYLOAD}']",
    "!!python/object/apply:tests.fuzz.mutate.sing ['yaml']",
    "!!python/object/new:tests.fuzz.mutate.Payload {}",
    f"!!python/object/apply:subprocess.check_output [['sh', '-c', '{SHELL_PAYLOAD}']]",
    "!!python/name:os.system ''",
    "!!python/module:tests.fuzz.mutate ''",
)
