"""Texts that match a regular expression, as JSON Schemas have them (ECMA-262).

A pattern is read, and never run: so none can take longer than it is long. What looks ahead or behind, or
back to a group, is taken for nothing; whoever asks must see for himself whether a text matches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DEEPEST = 40
_LONGEST = 4_000
"""How long a text may be."""
_MORE = (0, 1, 2, 5, 12, 30, 70)
"""How often to repeat what may be repeated more often than it must be; one text for each."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ANY = _LETTERS + "0123456789" + _LETTERS.upper() + "-_.:/ @"
_DIGITS = "0123456789"
_WORD = _LETTERS + _DIGITS + _LETTERS.upper() + "_"
_SPACE = " \t\n"
_CLASSES = {
    "d": _DIGITS,
    "w": _WORD,
    "s": _SPACE,
    "D": "".join(each for each in _ANY if each not in _DIGITS),
    "W": "".join(each for each in _ANY if each not in _WORD),
    "S": "".join(each for each in _ANY if each not in _SPACE),
}
_CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0"}
_QUANTIFIER = re.compile(r"([*+?]|\{(\d{1,6})(?:(,)(\d{0,6}))?\})\??")
_BOUNDS = {"*": (0, None), "+": (1, None), "?": (0, 1)}


class _Unreadable(Exception):
    """The pattern is none, or makes too long a text."""


def string_matching(pattern: str) -> Iterator[str]:
    """Make some texts that match, the shortest first.

    Args:
        pattern: A regular expression.
    """
    known = set()
    for more in _MORE:
        for branch in (0, 1):
            try:
                text = _Reader(pattern, more, branch).read()
            except _Unreadable:
                return
            if text not in known:
                known.add(text)
                yield text


class _Reader:
    """Reads a pattern once, and writes a text that matches.

    Args:
        pattern: The pattern.
        more: How often to repeat things more than they must be.
        branch: Which of several branches to take.
    """

    def __init__(self, pattern: str, more: int, branch: int) -> None:
        self._pattern = pattern
        self._more = more
        self._branch = branch
        self._at = 0

    def read(self) -> str:
        text = self._branches(0)
        if self._at < len(self._pattern):
            raise _Unreadable
        return text

    def _peek(self, length: int = 1) -> str:
        return self._pattern[self._at : self._at + length]

    def _take(self, length: int = 1) -> str:
        taken = self._peek(length)
        if len(taken) < length:
            raise _Unreadable
        self._at += length
        return taken

    def _branches(self, depth: int) -> str:
        if depth > _DEEPEST:
            raise _Unreadable
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
            text += piece * (least + min(self._more, most - least))
            if len(text) > _LONGEST:
                raise _Unreadable
        return text

    def _bounds(self, match: re.Match[str], length: int) -> tuple[int, int]:
        least, most = _BOUNDS.get(match[1]) or (
            int(match[2]),
            int(match[4]) if match[4] else None if match[3] else int(match[2]),
        )
        if least * length > _LONGEST:
            raise _Unreadable
        return least, least + self._more if most is None else max(most, least)

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
                raise _Unreadable
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
            raise _Unreadable
        return "" if kind and kind[0] in ("?=", "?!", "?<=", "?<!") else text

    def _escaped(self) -> str:
        """The characters that an escape stands for; none for a place, or a group from before."""
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
            raise _Unreadable
        self._at = name.end()
        told = (name[1] or name[0]).rpartition("=")[2]
        if negative:
            return "-"
        return {"Lu": "A", "N": "1", "Nd": "1"}.get(told, "-" if told.startswith(("P", "S")) else "a")

    def _code(self, length: int) -> str:
        digits = self._take(length)
        try:
            return chr(int(digits, 16))
        except ValueError:
            raise _Unreadable from None

    def _set(self) -> str:
        """The characters of ``[…]``, letters first."""
        negative = self._peek() == "^"
        if negative:
            self._take()
        found: dict[str, None] = {}  # in this order
        while (character := self._take()) != "]":
            characters = self._escaped() if character == "\\" else character
            if len(characters) == 1 and self._peek() == "-" and self._peek(2) != "-]":
                self._take()
                last = self._take()
                last = self._escaped() if last == "\\" else last
                if len(last) != 1 or last < characters:
                    raise _Unreadable
                found |= dict.fromkeys(each for each in (*_ANY, characters) if characters <= each <= last)
            else:
                found |= dict.fromkeys(characters)
        if negative:
            return "".join(each for each in _ANY if each not in found)
        return "".join(sorted(found, key=lambda each: (_ANY + each).index(each)))
