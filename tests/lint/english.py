"""A lint step for plain English: banned words, pronoun-like names, docstrings, test names and loggers.

Run ``python -m tests.lint.english [PATH ...]``. Without paths it checks the whole repository. Each finding is
a line ``file:line: word: remedy``, and any finding makes the exit status 1.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SCOPE = (
    *("brokerkit", "samples", "docs", "tests", "pytest_brokerkit.py"),
    *("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "setup.cfg"),
)
SUFFIXES = {".py", ".md", ".yml", ".yaml", ".toml", ".cfg", ".sql", ".jinja", ".json"}
FILE_NAMES = {"Makefile", "Procfile"}
EXEMPT = {"tests/lint/english.py", "tests/lint/test_english.py"}
"""These files quote the banned words."""

BE = "(?:is|was|are|were|be|been|being)"

WORDS = {
    "(?:no|some|any|every)body": "name the actor: the caller, the platform, another process",
    "whoever|whosoever": "name the actor: the caller, the platform, the operator",
    "unless told(?: otherwise)?": "write 'Defaults to X.'",
    f"(?:{BE} )?told": "use 'given', 'notified', 'reported' or 'requested'",
    f"(?:{BE}|as) asked": "use 'requested' or 'called'",
    "answer(?:s|ed)? (?:with )?[1-5][0-9][0-9]": "use 'return', as in 'returned 404, expected 410'",
    "anew": "use 'again'",
    "for ever": "use 'indefinitely'",
    r"no more(?! (?:\w+ )?than)": "use 'no longer', or 'no further' before a noun",
    f"{BE} through": "use 'has finished'",
    "at once": "use 'concurrently', 'synchronously' or 'immediately'",
    "(?:un|re)?seal(?:s|ed|ing)?": "use 'encrypt', 'decrypt' or 'reencrypt'",
    "remember(?:s|ed)": "use 'store', 'save' or 'record'",
    "hand(?:s|ed|ing)? (?:it |them )?on": "use 'enqueue' or 'pass on'",
    "(?:take|takes|taken|took) back": "use 'requeue'",
    "(?:wind|winds|winding|wound) down": "use 'drain' or 'shut down'",
    f"(?:{BE}|lets?) (?:not )?let in|lets? in": "use 'authenticate'",
    "on offer": "use 'offering' or 'in the catalog'",
    "amongst|whilst|lest|albeit|whence|thereof|whereof|forthwith": "use the modern word",
}
"""Banned in text that people read: pattern -> remedy. A space in a pattern also matches a line break."""

STORED_VALUES = {"INLINE": '"at once"'}
"""String literals that cannot change, because released stores have them: name -> literal."""

NAMES = {
    "told": "name the value: 'given' or 'requested'",
    "found": "name the value: 'result' or 'row'",
    "each": "use the element's own name",
    "made": "name the value: 'created' or 'response'",
    "asked": "name the value: 'request'",
}
"""Banned as names of variables, parameters, attributes and functions."""

DOCSTRINGS = {
    r"(?:What|Who|How|Which|It|As|Of|Whose|Is|Are|Does|Has)\b": (
        "begin a docstring with an imperative verb or a noun; a Boolean is 'Whether ...'"
    ),
    r"[^?]*\?(?=[\"')`]*(?:\s|$))": "state a docstring's first line; do not ask",
}
"""Banned at the beginning of a docstring's first line."""
DOCUMENTED = ("brokerkit/", "samples/", "pytest_brokerkit.py")

MOST_WORDS = 7
RULE_ID = re.compile(r"_r_(?:req|err|cat|prov|geti|upd|bind|getb|unb|del|last)(?=_|$)")

LOGGERS = {
    "brokerkit.events": "brokerkit/",  # its name is a documented interface
    "brokerkit": "brokerkit/admin/",  # commands silence the whole package
    "alembic": "brokerkit/store/",  # the logger of a library
}
"""Loggers that are not `__name__`'s: name -> the path under which it may be used."""

_GAP = r"""[\s#"']+(?:[fFrR]{1,2}["'])?"""
_PATTERNS = [
    (re.compile(rf"(?<![\w:])(?:{pattern.replace(' ', _GAP)})(?!\w)", re.IGNORECASE), remedy)
    for pattern, remedy in WORDS.items()
]
_INLINE_CODE = re.compile(r"`[^`\s]+`")
_CODE = "\0"


class Finding(NamedTuple):
    """A place in a file, the word that is wrong there, and its remedy."""

    path: str
    line: int
    word: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word}: {self.remedy}"


def check(path: str, text: str) -> list[Finding]:
    """Return the findings in a file's text; `path` is relative to the repository and selects the checks."""
    if path in EXEMPT:
        return []
    is_python = path.endswith(".py")
    findings = set(_words(_prose(text) if is_python else text))
    if is_python:
        for node in ast.walk(ast.parse(text)):
            findings.update(_names(node))
            if path.startswith(DOCUMENTED):
                findings.update(_docstring(node))
            if path.startswith("tests/"):
                findings.update(_test_name(node))
            if path.startswith("brokerkit/"):
                findings.update(_logger(node, path))
    return [Finding(path, *finding) for finding in sorted(findings)]


def _words(text: str) -> Iterator[tuple[int, str, str]]:
    text = _INLINE_CODE.sub(lambda code: " " * len(code[0]), text.replace("\\n", "  "))
    taken: set[int] = set()
    for pattern, remedy in _PATTERNS:
        for match in pattern.finditer(text):
            if taken.isdisjoint(range(*match.span())):  # the earlier patterns are the more precise ones
                taken.update(range(*match.span()))
                yield text.count("\n", 0, match.start()) + 1, re.sub(_GAP, " ", match[0]), remedy


def _prose(source: str) -> str:
    """Replace a module's code by placeholders; keep comments and strings of several words in place."""
    lines = io.StringIO(source).readlines()
    offsets = [0, *accumulate(map(len, lines))]
    prose = [char if char.isspace() else _CODE for char in source]
    for token in tokenize.generate_tokens(iter([*lines, ""]).__next__):
        kind = tokenize.tok_name[token.type]
        if STORED_VALUES.get(token.line.split("=")[0].strip()) == token.string:
            continue
        if kind == "COMMENT" or (kind.startswith(("STRING", "FSTRING")) and re.search(r"\s", token.string)):
            begin, end = (offsets[row - 1] + column for row, column in (token.start, token.end))
            prose[begin:end] = source[begin:end]
    return "".join(prose)


def _names(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            for _, word, remedy in _words(name.replace("_", " ")):
                yield node.lineno, word, remedy
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
            pass
        case ast.arg(arg=name) | ast.alias(asname=str(name)):
            pass
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
            pass
        case _:
            return
    if name in NAMES:
        yield node.lineno, name, NAMES[name]


def _docstring(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))) if text.strip():
            for pattern, remedy in DOCSTRINGS.items():
                if match := re.match(pattern, text.strip().splitlines()[0]):
                    yield node.lineno, match[0], remedy


def _test_name(node: ast.AST) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
            count = len(name.split("_")) - 1
            if count > MOST_WORDS:
                yield node.lineno, name, f"{count} words; use at most {MOST_WORDS}, and a docstring"
            if RULE_ID.search(name):
                yield node.lineno, name, 'cite the rule with @pytest.mark.rule("R-...")'


def _logger(node: ast.AST, path: str) -> Iterator[tuple[int, str, str]]:
    match node:
        case ast.Call(func=ast.Attribute(attr="getLogger") | ast.Name(id="getLogger"), args=arguments):
            name = ", ".join(map(ast.unparse, arguments)).strip("'")
            if name != "__name__" and not path.startswith(LOGGERS.get(name, "?")):
                yield node.lineno, ast.unparse(node), "use logging.getLogger(__name__)"


def main(arguments: list[str]) -> int:
    """Check files and folders, print the findings and return the exit status."""
    findings: list[Finding] = []
    for path in [Path(argument).resolve() for argument in arguments] or [ROOT / name for name in SCOPE]:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and (file.suffix in SUFFIXES or file.name in FILE_NAMES):
                findings += check(file.relative_to(ROOT).as_posix(), file.read_text(encoding="utf-8"))
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
