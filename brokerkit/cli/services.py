"""`brokerkit services`: what this command made."""

from __future__ import annotations

import click

from .._internal import console as display
from .formatting import instance_report
from .options import json_option
from .output import CLIError, Output
from .state_file import StateFile

_COLUMNS = {
    "name": "name",
    "service": "offering",
    "plan": "plan",
    "state": "state",
    "bound": "bindings",
    "instance_id": "id",
}


@click.command(epilog="\b\nExample:\n  brokerkit services --all")
@click.option(
    "--url", envvar="BROKER_URL", show_envvar=True, help="Where the broker is; without it, all brokers."
)
@click.option("--all", "everywhere", is_flag=True, help="List what was made at other URLs too.")
@click.option(
    "--forget", metavar="NAME", help="Forget NAME, of a broker that is no more; it is asked nothing."
)
@json_option
def services(url: str | None, everywhere: bool, forget: str | None, as_json: bool) -> None:
    """List the service instances that this command made, and their bindings.

    They are remembered in a file for each user, readable by its owner alone: services.json in
    $BROKERKIT_HOME, else in the folder brokerkit of $XDG_STATE_HOME (~/.local/state) or, on Windows, of
    %LOCALAPPDATA%. It has no passwords of brokers, but the credentials of those bindings that their broker
    cannot be asked for again.
    """
    talk = Output(as_json=as_json, verbose=False)
    with talk.telling():
        memory = StateFile.of_user()
        wanted = None if url is None else url.rstrip("/").removesuffix("/v2")
        if forget is not None:
            _forget(memory, wanted, forget)
        everywhere = everywhere or wanted is None
        reports = [
            instance_report(at, each)
            for at, known in memory.brokers().items()
            for each in known.values()
            if everywhere or at == wanted
        ]
        if as_json:
            display.print_json(reports)
        elif not reports:
            talk.note("Nothing was made." if everywhere else f"Nothing was made at {wanted}.")
        else:
            for report in reports:
                report["bound"] = ", ".join(each["name"] for each in report["bindings"])
            display.print_table(reports, _COLUMNS | ({"url": "url"} if everywhere else {}))


def _forget(memory: StateFile, url: str | None, name: str) -> None:
    if url is None:
        raise click.UsageError("--forget needs --url")
    known = memory.find(url, name)
    if known is None:
        raise CLIError(f"nothing called {name} was made at {url}", error="NotKnown")
    memory.forget(url, known)
