"""Tests of the lint step for plain English."""

from __future__ import annotations

import pytest

from . import english

CLEAN = '''"""Deliver messages to the task queue."""

import logging

_logger = logging.getLogger(__name__)


class Delivery:
    """A message and its attempts.

    Args:
        confirmed: Whether the queue confirmed the message. Defaults to False.
    """


def deliver(message: str) -> None:
    """Deliver a message, with no more than three attempts."""
    columns = ("told", "sealed")  # the names of columns; `sealed` is encrypted
    _logger.info("Cannot publish to the task queue (%s); will retry", columns)
'''


def words(path: str, text: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.word) for finding in english.check(path, text)]


def test_clean_module_has_no_findings() -> None:
    assert words("brokerkit/background/delivery.py", CLEAN) == []


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('"""Deliver a message that nobody reads."""', "nobody"),
        ("x = 1  # what was told to the worker", "was told"),
        ('log("the queue of %s takes no more", x)', "no more"),
        ('log(f"{x} runs at once")', "at once"),
        ('help = "workers=8 unless told otherwise"', "unless told otherwise"),
        ('log("the operation runs for "\n    f"ever; see {x}")', "for ever"),
        ("# The operation is\n# through.", "is through"),
        ('"""Encrypt and\n    Sealed rows."""', "Sealed"),
        ('raise ValueError("it answered 404; 410 was due")', "answered 404"),
    ],
)
def test_banned_words_in_python(text: str, word: str) -> None:
    assert [other for _, other in words("brokerkit/x.py", text)] == [word]


def test_finding_has_line_of_its_word() -> None:
    text = '"""Deliver.\n\nThe message is\nsent anew.\n"""\n\n# Nobody waits.\n'
    assert words("samples/x.py", text) == [(4, "anew"), (7, "Nobody")]
    assert str(english.check("samples/x.py", text)[0]) == "samples/x.py:4: anew: use 'again'"


def test_code_separates_words() -> None:
    assert words("brokerkit/x.py", 'log("is "); told("none at "); log("once upon a time")') == []


@pytest.mark.parametrize("path", ["README.md", "samples/catalog.yml", "Makefile", "pyproject.toml"])
def test_banned_words_in_other_files(path: str) -> None:
    text = "# Databases\n\nThe broker runs\n```\n# at\n# once, whoever calls\n```\n"
    assert words(path, text) == [(5, "at once"), (6, "whoever")]


def test_inline_code_is_not_prose() -> None:
    assert words("CHANGELOG.md", "`told` and `sealed` are now `given` and `encrypted`.") == []


@pytest.mark.parametrize("name", english.NAMES)
@pytest.mark.parametrize(
    "text",
    [
        "{} = 1",
        "self.{} = 1",
        "for {} in rows: pass",
        "[{0} for {0} in rows]",
        "def f(*, {}): pass",
        "def {}(): pass",
        "import x as {}",
        "with x as {}: pass",
        "try: pass\nexcept Exception as {}: pass",
        "class Record:\n    {}: int",
    ],
)
def test_banned_names(text: str, name: str) -> None:
    assert name in [word for _, word in words("tests/test_x.py", text.format(name))]


def test_banned_words_in_function_names() -> None:
    assert words("tests/test_x.py", "def test_login_lets_nobody_in(): pass") == [(1, "nobody")]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("What the platform sent.", "What"),
        ("Of an operation: its id.", "Of"),
        ("As `Executor.attach`.", "As"),
        ("It is done.", "It"),
        ("Can it be polled? None if unknown.", "Can it be polled?"),
        ("Decide: is it due?", "Decide: is it due?"),
    ],
)
@pytest.mark.parametrize(
    "text", ['"""{}"""', 'def f():\n    """{}"""', 'class C:\n    x = 1\n    """{}\n\n    More."""']
)
def test_banned_docstring_beginnings(text: str, line: str, word: str) -> None:
    assert [other for _, other in words("brokerkit/x.py", text.format(line))] == [word]
    assert words("tests/x.py", text.format(line)) == []


def test_long_test_names() -> None:
    assert words("tests/test_x.py", "def test_provision_with_other_parameters_is_409(): pass") == []
    name = "test_one_two_three_four_five_six_seven_eight"
    assert words("tests/test_x.py", f"class TestX:\n    async def {name}(self): pass") == [(2, name)]


@pytest.mark.parametrize("name", ["test_r_prov_3_is_200", "test_fetch_r_geti_is_200", "test_reads_r_cat"])
def test_rule_ids_in_test_names(name: str) -> None:
    (finding,) = english.check("tests/test_x.py", f"def {name}(): pass")
    assert "pytest.mark.rule" in finding.remedy


@pytest.mark.parametrize(
    ("path", "argument", "is_allowed"),
    [
        ("brokerkit/x.py", "__name__", True),
        ("brokerkit/x.py", '"brokerkit"', False),
        ("brokerkit/x.py", '"brokerkit.x"', False),
        ("brokerkit/observe/logs.py", '"brokerkit.events"', True),
        ("brokerkit/x.py", "name", False),
        ("brokerkit/x.py", "", False),
        ("tests/x.py", '"brokerkit"', True),
    ],
)
def test_loggers(path: str, argument: str, is_allowed: bool) -> None:
    assert (words(path, f"import logging\nlogging.getLogger({argument})") == []) == is_allowed


def test_status_and_output(capsys: pytest.CaptureFixture[str]) -> None:
    folder = english.ROOT / "tests/lint"
    assert english.main([str(folder)]) == 0
    assert capsys.readouterr().out == ""
