"""Example strings for the regular expressions of JSON Schemas (ECMA-262).

A pattern is parsed and never executed, so the time is linear in its length. Lookaheads, lookbehinds and back
references are ignored, so the caller must check whether a string matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MAX_DEPTH = 40
_MAX_LENGTH = 4_000
_REPETITIONS = (0, 1, 2, 5, 12, 30, 70)
"""Extra repetitions beyond a quantifier's minimum; one string for each."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ANY = _LETTERS + "0123456789" + _LETTERS.upper() + "-_.:/ @"
_DIGITS = "0123456789"
_WORD = _LETTERS + _DIGITS + _LETTERS.upper() + "_"
_SPACE = " \t\n"
_CLASSES = {
    "d": _DIGITS,
    "w": _WORD,
    "s": _SPACE,
    "D": "".join(c for c in _ANY if c not in _DIGITS),
    "W": "".join(c for c in _ANY if c not in _WORD),
    "S": "".join(c for c in _ANY if c not in _SPACE),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"([*+?]|\{(\d{1,6})(?:(,)(\d{0,6}))?\})\??")
_BOUNDS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class _UnusablePattern(Exception):
    """An invalid pattern, or one whose string would be too long."""


def string_matching(pattern: str) -> Iterator[str]:
    """Generate strings that probably match, the shortest first.

    Args:
        pattern: A regular expression.
    """
    generated = set()
    for extra in _REPETITIONS:
        for branch in (0, 1):
            try:
                text = _Generator(pattern, extra, branch).generate()
            except _UnusablePattern:
                return
            if text not in generated:
                generated.add(text)
                yield text


class _Generator:
    """A recursive-descent parser of one pattern that generates a string.

    Args:
        pattern: The pattern.
        extra: The repetitions beyond each quantifier's minimum.
        branch: The index of the alternative to take.
    """

    def __init__(self, pattern: str, extra: int, branch: int) -> None:
        self._pattern = pattern
        self._extra = extra
        self._branch = branch
        self._at = 0

    def generate(self) -> str:
        """Generate the string."""
        text = self._branches(0)
        if self._at < len(self._pattern):
            raise _UnusablePattern
        return text

    def _peek(self, length: int = 1) -> str:
        return self._pattern[self._at : self._at + length]

    def _take(self, length: int = 1) -> str:
        taken = self._peek(length)
        if len(taken) < length:
            raise _UnusablePattern
        self._at += length
        return taken

    def _branches(self, depth: int) -> str:
        if depth > _MAX_DEPTH:
            raise _UnusablePattern
        branches = [self._sequence(depth)]
        while self._peek() == "|":
            self._take()
            branches.append(self._sequence(depth))
        return branches[min(self._branch, len(branches) - 1)]

    def _sequence(self, depth: int) -> str:
        text = ""
        while (ahead := self._peek()) and ahead not in "|)":
            least, most = 1, 1
            piece = self._piece(depth)
            if match := _QUANTIFIER.match(self._pattern, self._at):
                self._at = match.end()
                least, most = self._bounds(match, len(piece))
            text += piece * (least + min(self._extra, most - least))
            if len(text) > _MAX_LENGTH:
                raise _UnusablePattern
        return text

    def _bounds(self, match: re.Match[str], length: int) -> tuple[int, int]:
        least, most = _BOUNDS.get(match[1]) or (
            int(match[2]),
            int(match[4]) if match[4] else None if match[3] else int(match[2]),
        )
        if least * length > _MAX_LENGTH:
            raise _UnusablePattern
        return least, least + self._extra if most is None else max(most, least)

    def _piece(self, depth: int) -> str:
        match self._take():
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "\\":
                return self._first(self._escaped())
            case "[":
                return self._first(self._set())
            case "(":
                return self._group(depth)
            case "*" | "+" | "?":
                raise _UnusablePattern
            case character:
                return character

    def _first(self, characters: str) -> str:
        return characters[:1]

    def _group(self, depth: int) -> str:
        kind = re.compile(r"\?(?:[:=!]|<[=!]|P?<\w+>)").match(self._pattern, self._at)
        if kind:
            self._at = kind.end()
        text = self._branches(depth + 1)
        if self._take() != ")":
            raise _UnusablePattern
        return "" if kind and kind[0] in ("?=", "?!", "?<=", "?<!") else text

    def _escaped(self) -> str:
        """Return the characters of an escape; none for an assertion or a back reference."""
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _CONTROLS:
            return _CONTROLS[character]
        if character in "bB" or character in _DIGITS:
            return ""
        if character in "pP":
            return self._property(negative=character == "P")
        if character == "c":
            return chr(ord(self._take()) % 32)
        if character in "xu":
            return self._code(2 if character == "x" else 4)
        return character

    def _property(self, *, negative: bool) -> str:
        name = re.compile(r"\{([\w=]+)\}|\w").match(self._pattern, self._at)
        if name is None:
            raise _UnusablePattern
        self._at = name.end()
        category = (name[1] or name[0]).rpartition("=")[2]
        if negative:
            return "-"
        return {"Lu": "A", "N": "1", "Nd": "1"}.get(category, "-" if category.startswith(("P", "S")) else "a")

    def _code(self, length: int) -> str:
        digits = self._take(length)
        try:
            return chr(int(digits, 16))
        except ValueError:
            raise _UnusablePattern from None

    def _set(self) -> str:
        """Return the characters of ``[…]``, letters first."""
        negative = self._peek() == "^"
        if negative:
            self._take()
        members: dict[str, None] = {}  # in order of appearance
        while (character := self._take()) != "]":
            characters = self._escaped() if character == "\\" else character
            if len(characters) == 1 and self._peek() == "-" and self._peek(2) != "-]":
                self._take()
                last = self._take()
                last = self._escaped() if last == "\\" else last
                if len(last) != 1 or last < characters:
                    raise _UnusablePattern
                members |= dict.fromkeys(c for c in (*_ANY, characters) if characters <= c <= last)
            else:
                members |= dict.fromkeys(characters)
        if negative:
            return "".join(c for c in _ANY if c not in members)
        return "".join(sorted(members, key=lambda c: (_ANY + c).index(c)))
