"""`brokerkit services`: list the resources that this command created."""

from __future__ import annotations

import click

from .._internal import console
from .formatting import instance_report
from .options import json_option
from .output import CLIError, Output
from .state_file import StateFile

_COLUMNS = {
    "name": "name",
    "offering": "offering",
    "plan": "plan",
    "state": "state",
    "binding_names": "bindings",
    "instance_id": "id",
}


@click.command(epilog="\b\nExample:\n  brokerkit services --all")
@click.option(
    "--url", envvar="BROKER_URL", show_envvar=True, help="The URL of the broker. Defaults to all brokers."
)
@click.option("--all", "all_brokers", is_flag=True, help="List the instances of all brokers.")
@click.option(
    "--forget",
    metavar="NAME",
    help="Remove the entry of NAME without a request, for a broker that no longer exists.",
)
@json_option
def services(url: str | None, all_brokers: bool, forget: str | None, as_json: bool) -> None:
    """List the service instances that this command created, with their bindings.

    Each user has a file of them that only that user can read. It is services.json in $BROKERKIT_HOME. The
    default folder is brokerkit in $XDG_STATE_HOME (~/.local/state) or, on Windows, in %LOCALAPPDATA%.

    The file contains no passwords of brokers. It contains the credentials of the bindings that cannot be
    fetched from their broker again.
    """
    output = Output(as_json=as_json, verbose=False)
    with output.report_errors():
        state_file = StateFile.for_user()
        broker_url = None if url is None else url.rstrip("/").removesuffix("/v2")
        if forget is not None:
            _forget(state_file, broker_url, forget)
        all_brokers = all_brokers or broker_url is None
        reports = [
            instance_report(stored_url, instance)
            for stored_url, instances in state_file.brokers().items()
            for instance in instances.values()
            if all_brokers or stored_url == broker_url
        ]
        if as_json:
            console.print_json(reports)
        elif not reports:
            output.note(
                "There are no instances." if all_brokers else f"There are no instances at {broker_url}."
            )
        else:
            for report in reports:
                report["binding_names"] = ", ".join(binding["name"] for binding in report["bindings"])
            console.print_table(reports, _COLUMNS | ({"url": "url"} if all_brokers else {}))


def _forget(state_file: StateFile, url: str | None, name: str) -> None:
    if url is None:
        raise click.UsageError("--forget needs --url")
    instance = state_file.find(url, name)
    if instance is None:
        raise CLIError(f"the state file has no instance {name} at {url}", error="NotFound")
    state_file.remove(url, instance)
