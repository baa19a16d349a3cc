"""The parameters file: precedence of keys, and faults without values."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from brokerkit.checker.parameter_file import ParametersError, find_value, read_parameters, unused_keys

SECRET = "not-to-be-seen"


def write(folder: Path, content: Any, name: str = "parameters.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def faults(path: Path) -> list[str]:
    """Return the faults of a file; none may contain a value."""
    with pytest.raises(ParametersError) as caught:
        read_parameters(path)
    assert SECRET not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert all(fault in str(caught.value) for fault in caught.value.faults)
    return list(caught.value.faults)


def test_parameter_file_accepts_object_or_list(tmp_path: Path) -> None:
    """An action's value is one parameters object or a list of alternatives."""
    content = {
        "db/small": {"provision": {"size": 1}, "bind": [{"role": "a"}, {"role": "b"}]},
        "*": {"update": {}},
    }
    assert read_parameters(write(tmp_path, content)) == {
        "db/small": {"provision": ({"size": 1},), "bind": ({"role": "a"}, {"role": "b"})},
        "*": {"update": ({},)},
    }


def test_parameter_file_can_be_yaml(tmp_path: Path) -> None:
    content = (
        "db/small:\n  provision:\n  - size: 1\n  - {size: 2, since: '2026-01-01', more: [null, 1.5, true]}\n"
    )
    given = read_parameters(write(tmp_path, content, "parameters.yml"))
    assert given == {
        "db/small": {
            "provision": ({"size": 1}, {"size": 2, "since": "2026-01-01", "more": [None, 1.5, True]})
        }
    }


GIVEN: dict[str, dict[str, tuple[dict[str, Any], ...]]] = {
    "*": {"provision": ({"of": "all"},), "update": ({"of": "all"},), "bind": ({"of": "all"},)},
    "db": {"provision": ({"of": "offering"},), "update": ({"of": "offering"},)},
    "db/small": {"provision": ({"of": "plan"},)},
    "cache-id/p1": {"bind": ({"of": "ids"},)},
}


@pytest.mark.parametrize(
    ("names", "action", "expected"),
    [
        (("db", "db-id", "small", "small-id"), "provision", "plan"),
        (("db", "db-id", "small", "small-id"), "update", "offering"),
        (("db", "db-id", "small", "small-id"), "bind", "all"),
        (("db", "db-id", "large", "large-id"), "provision", "offering"),
        (("mail", "db", "one", "small"), "provision", "plan"),
        (("cache", "cache-id", "p", "p1"), "bind", "ids"),
        (("cache", "cache-id", "p", "p2"), "bind", "all"),
    ],
)
def test_most_specific_key_wins_per_action(
    names: tuple[str, str, str, str], action: str, expected: str
) -> None:
    assert find_value(GIVEN, *names, action) == ({"of": expected},)


def test_parameters_without_matching_key_are_none() -> None:
    assert find_value({"db": {"bind": ({},)}}, "db", "db-id", "small", "small-id", "provision") is None
    assert find_value({"db": {"bind": ({},)}}, "db", "db-id", "small", "small-id", "bind") == ({},)
    assert find_value({}, "db", "db-id", "small", "small-id", "bind") is None


def test_unknown_catalog_keys_are_detected() -> None:
    plans = [("db", "db-id", "small", "small-id"), ("cache", "cache-id", "p", "p1")]
    keys = ["db/smal", "*", "db", "mail", "db-id/small", "cache/small", "cache-id/p1"]
    given = dict.fromkeys(keys, GIVEN["*"])
    assert unused_keys(given, plans) == ["db/smal", "mail", "cache/small"]
    assert unused_keys(given, []) == [key for key in keys if key != "*"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ([], "expected an object with a key for each plan, got a list"),
        (SECRET, "invalid JSON: JSON is malformed: invalid character (byte 4)"),
        ('"' + SECRET, "invalid JSON: Input data was truncated"),
        (json.dumps(SECRET), "expected an object with a key for each plan, got a string"),
        ({"db": SECRET}, '"db": expected an object with provision, update or bind, got a string'),
        ({"db": {"provison": SECRET}}, '"db".provison: unknown action; use provision, update or bind'),
        ({"db": {"bind": SECRET}}, '"db".bind: expected an object of parameters, got a string'),
        ({"db": {"bind": None}}, '"db".bind: expected an object of parameters, got null'),
        ({"db": {"bind": [{}, 7]}}, '"db".bind[1]: expected an object of parameters, got a number'),
        (
            {"db": {"bind": []}},
            '"db".bind: the list is empty; add an object, or use {} for no parameters',
        ),
        (
            {"x" * 200: 1},
            f'"{"x" * 99}…: expected an object with provision, update or bind, got a number',
        ),
        ('{"a":' * 5000 + "1" + "}" * 5000, "nested deeper than 100 levels"),
    ],
)
def test_parameter_file_error_names_its_place(tmp_path: Path, content: Any, fault: str) -> None:
    """Each error names the path of the wrong entry and never contains its value."""
    assert faults(write(tmp_path, content)) == [fault]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (f"db: {{bind: {{a: {SECRET}\n", "invalid YAML at line 2, column 1"),
        (f"db: {{bind: !!python/object:x {SECRET}}}", "invalid YAML at line 1, column 12"),
        ("\x00", "invalid YAML"),
        ("7: {}", '"7": the key is not a string; quote it'),
        (
            "db: {bind: {a: [1, {b: 2026-01-01}]}}",
            '"db".bind.a[1].b: JSON cannot represent a date; quote it',
        ),
        ("db: {bind: {on: a}}", '"db".bind: a key is true or false; quote it'),
        ("db: {bind: {a: .inf}}", '"db".bind.a: the number is not finite; JSON cannot represent it'),
        ("db: {bind: &a {b: *a}}", f'"db".bind{".b" * 100}: nested deeper than 100 levels'),
        ("[" * 1_000, "nested deeper than 100 levels"),
    ],
)
def test_yaml_without_json_equivalent_is_error(tmp_path: Path, content: str, fault: str) -> None:
    """YAML features without a JSON equivalent are errors with their place."""
    assert faults(write(tmp_path, content, "parameters.yaml")) == [fault]


def test_parameter_file_reports_all_errors_together(tmp_path: Path) -> None:
    path = write(tmp_path, {"db": {"bind": 1, "provison": {}}, "mail": None})
    assert len(faults(path)) == 3
    with pytest.raises(
        ParametersError, match=r'parameters\.json has 3 faults:\n  "db".bind: .*\n  "db".prov.*\n  '
    ):
        read_parameters(path)


def test_missing_parameter_file_raises_file_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_parameters(tmp_path / "nothing.json")


def test_yaml_file_without_pyyaml_names_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "yaml":
            raise ModuleNotFoundError("No module named 'yaml'", name="yaml")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(
        ModuleNotFoundError, match="a parameters file in YAML needs PyYAML: pip install pyyaml"
    ):
        read_parameters(write(tmp_path, "{}", "parameters.yml"))
    assert read_parameters(write(tmp_path, {})) == {}
