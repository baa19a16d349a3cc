"""Tests of the commands for authors of brokers, of the command group, and of its dependencies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from werkzeug.security import check_password_hash

import brokerkit
from brokerkit import BasicAuth
from brokerkit.cli import main

from .conftest import CommandRunner

RIGHT: dict[str, Any] = {
    "id": "s",
    "name": "mail",
    "description": "Letters",
    "bindable": False,
    "plans": [{"id": "p", "name": "post", "description": "By post"}],
}


@pytest.fixture
def author() -> CommandRunner:
    """A runner of commands without a broker."""
    return CommandRunner("")


@pytest.fixture
def catalogs(tmp_path: Path) -> Path:
    """A folder with a valid catalog, one with a warning, and an invalid one."""
    warned = {**RIGHT, "name": "air mail", "color": "blue"}
    wrong = {**RIGHT, "plans": [{"id": "p", "name": "post"}, {"id": "p", "name": "bird"}]}
    for name, offering in (("right", RIGHT), ("warned", warned), ("wrong", wrong)):
        (tmp_path / f"{name}.json").write_text(json.dumps({"services": [offering]}))
    return tmp_path


# Ids and passwords


def test_new_id_prints_requested_number_of_uuids(author: CommandRunner) -> None:
    lines = [*author.output("new-id").split(), *author.output("new-id", "3").split()]
    assert len({UUID(line).version for line in lines} | {4}) == 1
    assert len(set(lines)) == 4
    author.run("new-id", "0", code=2)


@pytest.mark.parametrize("typing", ["pässword\n", "pässword\r\n", "pässword"])
def test_hash_password_reads_stdin(author: CommandRunner, typing: str) -> None:
    """The hash of a password from stdin is accepted by BasicAuth."""
    password_hash = author.run("hash-password", typing=typing.encode()).stdout.strip()
    assert password_hash.startswith("scrypt:")
    assert check_password_hash(password_hash, "pässword")
    BasicAuth("platform", password_hash)


def test_hash_password_prompts_twice_without_echo(
    author: CommandRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerkit.cli.tools.can_prompt", lambda: True)
    result = author.run("hash-password", typing="hush\nhash\nhush\nhush\n")
    assert check_password_hash(result.stdout.splitlines()[-1], "hush")
    assert "hush" not in result.output


def test_hash_password_rejects_empty_password(author: CommandRunner) -> None:
    result = author.run("hash-password", typing="\n", code=1)
    assert (result.stdout, result.stderr) == ("", "Error: the password is empty\n")


# Catalog files


def test_lint_accepts_valid_catalog(author: CommandRunner, catalogs: Path) -> None:
    result = author.run("lint", "--strict", str(catalogs / "right.json"))
    assert (result.stdout, result.stderr) == ("", f"{catalogs / 'right.json'} has no faults.\n")


def test_lint_reports_errors_with_file_and_path(author: CommandRunner, catalogs: Path) -> None:
    wrong, warned = str(catalogs / "wrong.json"), str(catalogs / "warned.json")
    lines = author.run("lint", wrong, warned, code=1).stdout.splitlines()
    assert f"{wrong}: fault: services[0].plans[0]: 'description' is required" in lines
    assert any(line.startswith(f"{warned}: warning: services[0]") for line in lines)
    assert len(lines) > 3


@pytest.mark.parametrize(("options", "code"), [((), 0), (("--strict",), 1)])
def test_lint_strict_fails_on_warnings(
    author: CommandRunner, catalogs: Path, options: tuple[str, ...], code: int
) -> None:
    result = author.run("lint", str(catalogs / "warned.json"), *options, code=code)
    assert "warning: services[0]" in result.stdout


def test_lint_prints_json(author: CommandRunner, catalogs: Path) -> None:
    files = [str(catalogs / f"{name}.json") for name in ("right", "warned", "wrong")]
    result = author.run("lint", "--json", *files, code=1)
    right, warned, wrong = json.loads(result.stdout)
    assert right == {"file": files[0], "faults": [], "warnings": []}
    assert (bool(warned["faults"]), bool(warned["warnings"])) == (False, True)
    assert wrong["faults"]
    assert result.stderr == ""


def test_lint_rejects_unknown_file_format(author: CommandRunner, tmp_path: Path) -> None:
    (tmp_path / "catalog.txt").touch()
    assert "fault: unknown format" in author.run("lint", str(tmp_path / "catalog.txt"), code=1).stdout
    author.run("lint", str(tmp_path / "nowhere.json"), code=2)


def test_lint_reports_unreadable_file(
    author: CommandRunner, catalogs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    message = author.run("lint", str(catalogs / "right.json"), code=1).stdout
    assert "fault: cannot be read: Input/output error" in message


def test_lint_yaml_without_pyyaml_names_install_command(
    author: CommandRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "catalog.yml").write_text("services: []")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert "pip install 'osb-brokerkit[yaml]'" in author.error("lint", str(tmp_path / "catalog.yml"), code=2)


# The command group


def test_version_option_prints_package_version(author: CommandRunner) -> None:
    assert author.output("--version") == f"brokerkit {brokerkit.__version__}\n"


COMMANDS = [name for name in main._COMMANDS if name != "check"]


def test_help_lists_every_command(author: CommandRunner) -> None:
    output = author.output("--help")
    assert all(f"  {name} " in output for name in (*COMMANDS, "check"))


@pytest.mark.parametrize("command", COMMANDS)
def test_command_help_has_usage_and_example(author: CommandRunner, command: str) -> None:
    output = author.output(command, "--help")
    assert f"Usage: brokerkit {command} " in output
    assert "Example:\n" in output


def test_unknown_command_is_a_usage_error(author: CommandRunner) -> None:
    assert "No such command 'nix'" in author.run("nix", code=2).stderr


def test_shell_completion_lists_commands(author: CommandRunner) -> None:
    author.env |= {"_BROKERKIT_COMPLETE": "bash_complete", "COMP_WORDS": "brokerkit new", "COMP_CWORD": "1"}
    assert author.output() == "plain,new-id\n"


RUN_AND_LIST_MODULES = """
import json, sys
from brokerkit.cli.main import cli
cli([*sys.argv[1:]], standalone_mode=False)
print(json.dumps([*{"requests", "rich", "urllib3", "yaml", "hypothesis"} & sys.modules.keys()]))
"""


@pytest.mark.integration
@pytest.mark.parametrize("command", [("new-id",), ("--help",)])
def test_tools_load_no_optional_packages(command: tuple[str, ...]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", RUN_AND_LIST_MODULES, *command], capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout.splitlines()[-1]) == []


@pytest.mark.integration
def test_package_runs_as_module() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "brokerkit", "new-id"], capture_output=True, text=True, check=True
    )
    assert UUID(run.stdout.strip())


def test_undecodable_argument_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["brokerkit", "catalog", "\udcff"])
    with pytest.raises(SystemExit) as exit_info:
        main.main()
    assert exit_info.value.code == 2
    assert "not in the encoding" in capsys.readouterr().err


def test_console_script_runs_the_command_group(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["brokerkit", "new-id"])
    with pytest.raises(SystemExit) as exit_info:
        main.main()
    assert exit_info.value.code == 0
    assert UUID(capsys.readouterr().out.strip())


@pytest.mark.parametrize("missing", ["requests", "rich"])
def test_missing_package_gives_one_line_error(
    author: CommandRunner, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    if missing == "requests":  # other tests may have imported it
        for name in ("client.transport", "client.client", "cli.errors", "cli.context", "cli.catalog"):
            monkeypatch.delitem(sys.modules, f"brokerkit.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    author.env["BROKER_URL"] = "http://127.0.0.1:1"
    message = author.error("catalog")
    assert f"needs the package {missing}: pip install 'osb-brokerkit[check]'" in message
    assert message.count("\n") == 1


def test_missing_own_module_is_not_hidden(author: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing module of brokerkit itself is raised, not reported as a package to install."""
    monkeypatch.delitem(sys.modules, "brokerkit.cli.tools", raising=False)
    monkeypatch.setitem(sys.modules, "brokerkit.cli.tools", None)
    with pytest.raises(ModuleNotFoundError):
        main.cli(["new-id"], standalone_mode=False)
