"""The operators' commands: `flask broker …`.

The commands are registered with the blueprint. They read and write the store, and start no background work.
Each imports rich, SQLAlchemy and the other extras only when it needs them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from flask.cli import FlaskGroup

from .._internal import console
from .._internal.text import plural, printable
from ..catalog.models import Catalog
from . import audit_table, output
from .options import DEFAULT_LIMIT, LIMIT, Age, Since, json_option, limit_option, reveal_option

if TYPE_CHECKING:
    from ..audit import AuditRecord
    from ..store.store import Store
    from .audit import UnreadableRecord
    from .reports import Report, Reporter


class AdminContext(NamedTuple):
    """The catalog and the store that the commands work on.

    Args:
        catalog: Returns the catalog.
        store: The store, or None for a broker without a store.
    """

    catalog: Callable[[], Catalog]
    store: Store | None


def is_finding_command() -> bool:
    """Whether Flask's command line is loading the app to find or list its commands.

    Then the broker does not open the store, so that `upgrade-store` works even if the schema version is old.
    `flask run` and other servers load the app differently, and open the store first.
    """
    context = click.get_current_context(silent=True)
    return (
        context is not None and isinstance(context.command, FlaskGroup) and context.invoked_subcommand is None
    )


def commands(context: AdminContext) -> list[click.Command]:
    """Return the commands for one broker."""
    return [_make_command(context, function) for function in _COMMANDS]


_COMMANDS: list[Callable[..., None]] = []


def _register(function: Callable[..., None]) -> Callable[..., None]:
    _COMMANDS.append(function)
    return function


def _make_command(context: AdminContext, function: Callable[..., None]) -> click.Command:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        with _errors_in_one_line(context):
            function(context, *args, **kwargs)

    parameters = getattr(function, "__click_params__", [])
    run.__click_params__ = list(parameters)  # type: ignore[attr-defined]
    return click.command(function.__name__.replace("_", "-"))(run)


@contextmanager
def _errors_in_one_line(context: AdminContext) -> Iterator[None]:
    """Print an error of the store on one line, without a traceback and without log records."""
    logger, null_handler = logging.getLogger("brokerkit"), logging.NullHandler()
    logger.addHandler(null_handler)  # prevents logging's fallback to stderr, but not the app's own handlers
    try:
        yield
    except Exception as error:
        message = None if context.store is None else _message_of(error)
        if message is None:
            raise
        raise _command_error(message) from None
    finally:
        logger.removeHandler(null_handler)


def _message_of(error: Exception) -> str | None:
    """Return the message of a store's error, or None for any other error."""
    from ..store.database import driver_message
    from ..store.errors import StoreError, StoreUnavailable
    from .queries import CommandRefused

    if isinstance(error, StoreUnavailable):
        return f"the store is unavailable: {driver_message(error.__cause__ or error)}"
    return str(error) if isinstance(error, StoreError | CommandRefused) else None


def _command_error(message: str) -> click.ClickException:
    return click.ClickException(printable(" ".join(message.split())))


def _require_store(context: AdminContext) -> Store:
    if context.store is None:
        raise _command_error("this broker has no store; pass one as Broker(store=…)")
    return context.store


def _open_store(context: AdminContext) -> Store:
    store = _require_store(context)
    if not store.exists:
        raise _command_error(f"there is no store at {store.database}; the broker creates it when it starts")
    store.open()
    return store


def _reporter(context: AdminContext, store: Store, *, reveal: bool = False) -> Reporter:
    from .reports import Reporter

    return Reporter(store, context.catalog(), reveal=reveal)


# Commands that read


@_register
@json_option
def catalog(context: AdminContext, as_json: bool) -> None:
    """List the plans of all service offerings."""
    plans = _plans(context.catalog())
    output.print_reports(plans, as_json, output.CATALOG, "The catalog has no offerings.")


def _plans(catalog: Catalog) -> list[Report]:
    return [
        {
            "offering": offering.name,
            "offering_id": offering.id,
            "plan": plan.name,
            "plan_id": plan.id,
            "description": plan.description,
            "free": plan.free,
            "bindable": plan.bindable,
            "plan_updateable": plan.plan_updateable,
            "maintenance_version": plan.maintenance_info.version if plan.maintenance_info else None,
            "maximum_polling_duration": plan.maximum_polling_duration,
        }
        for offering in catalog.services
        for plan in offering.plans
    ]


@_register
@click.option("--all", "deleted", is_flag=True, help="Include deleted instances.")
@limit_option
@reveal_option
@json_option
def instances(context: AdminContext, deleted: bool, limit: int, reveal: bool, as_json: bool) -> None:
    """List the service instances, the newest first."""
    from .queries import list_instances

    store = _open_store(context)
    reporter = _reporter(context, store, reveal=reveal)
    rows, is_truncated = list_instances(store, limit, deleted=deleted)
    columns = output.INSTANCES_REVEALED if reveal else output.INSTANCES
    with _readable_reports(rows, reporter.instance) as reports:
        output.print_reports(reports, as_json, columns, "There are no instances.")
        output.print_truncation(is_truncated, limit)


@_register
@click.argument("instance", required=False)
@limit_option
@reveal_option
@json_option
def bindings(context: AdminContext, instance: str | None, limit: int, reveal: bool, as_json: bool) -> None:
    """List the service bindings of all instances, or of INSTANCE, the newest first."""
    from .queries import find_instance, list_bindings

    store = _open_store(context)
    key: str | None = None
    if instance is not None:
        row = find_instance(store, instance)
        if row is None:
            raise _command_error(f"there is no instance {instance}; list all with flask broker instances")
        key = row[0].key
    reporter = _reporter(context, store, reveal=reveal)
    rows, is_truncated = list_bindings(store, limit, key)
    columns = output.BINDINGS_REVEALED if reveal else output.BINDINGS
    with _readable_reports(rows, reporter.binding) as reports:
        output.print_reports(reports, as_json, columns, "There are no bindings.")
        output.print_truncation(is_truncated, limit)


@_register
@click.option("--failed", "state", flag_value="failed", help="Only failed operations.")
@click.option("--in-progress", "state", flag_value="in progress", help="Only operations in progress.")
@limit_option
@json_option
def operations(context: AdminContext, state: str | None, limit: int, as_json: bool) -> None:
    """List the operations on instances and bindings, the newest first."""
    from ..store.models import Progress
    from .queries import list_operations

    store = _open_store(context)
    reporter = _reporter(context, store)
    rows, is_truncated = list_operations(store, limit, state=Progress(state) if state else None)
    empty = {
        None: "There are no operations.",
        "in progress": "No operation is in progress.",
        "failed": "No operation failed.",
    }[state]
    with _readable_reports(rows, reporter.operation) as reports:
        output.print_reports(reports, as_json, output.OPERATIONS, empty)
        output.print_truncation(is_truncated, limit)


@contextmanager
def _readable_reports(rows: Iterable[Any], report: Callable[..., Report]) -> Iterator[list[Report]]:
    """Build the reports of the readable rows. The command fails afterwards if there are other rows.

    Args:
        rows: The arguments of `report` for each row, or the error of an unreadable row.
        report: Builds the report of a row.
    """
    from ..store.errors import StoreError

    reports: list[Report] = []
    unreadable: list[str] = []
    for row in rows:
        try:
            if isinstance(row, StoreError):
                raise row
            reports.append(report(*row))
        except StoreError as error:
            unreadable.append(str(error))
    yield reports
    for message in unreadable:
        console.print_error(f"A row cannot be read: {message}")
    if unreadable:
        raise _command_error(f"{plural(len(unreadable), 'row')} could not be read")


@_register
@click.option("--instance", metavar="ID", help="Only changes of this instance and its bindings.")
@click.option("--binding", metavar="ID", help="Only changes of bindings with this id.")
@click.option(
    "--since", type=Since(), metavar="WHEN", help="Only changes since then: 12h, 7d, 2026-11-01 or a time."
)
@click.option(
    "--limit",
    type=LIMIT,
    help=f"The maximum number of rows.  [default: {DEFAULT_LIMIT}, or all with --since]",
)
@json_option
def audit(
    context: AdminContext,
    instance: str | None,
    binding: str | None,
    since: float | datetime | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """List the changes that the broker accepted, the newest first: who, what, when, and the outcome.

    Changes of deleted resources are included until they are purged. Rejected requests changed nothing, and
    are not included.
    """
    from .audit import AuditFilter, read_audit
    from .queries import matching_keys

    store = _open_store(context)
    audit_filter = AuditFilter(
        instance_keys=() if instance is None else matching_keys(instance),
        binding_keys=() if binding is None else matching_keys(binding),
        since=store.now() - since if isinstance(since, float) else _timestamp(since),
    )
    size = DEFAULT_LIMIT if limit is None and since is None else limit
    results = read_audit(store, context.catalog(), audit_filter, None if size is None else size + 1)
    unreadable: list[str] = []
    records = _readable(islice(results, size), unreadable)
    if as_json:
        console.print_json_each(map(msgspec.to_builtins, records))
    else:
        is_filtered = audit_filter != AuditFilter()
        empty = "There are no matching changes." if is_filtered else "There are no changes."
        audit_table.print_changes(records, empty)
    output.print_truncation(next(results, None) is not None, size or 0)
    if unreadable:
        raise _command_error(f"{plural(len(unreadable), 'change')} could not be read")


def _timestamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _readable(
    results: Iterable[AuditRecord | UnreadableRecord], unreadable: list[str]
) -> Iterator[AuditRecord]:
    """Yield the readable records. Print an error for each unreadable one, and collect its operation id."""
    from ..audit import AuditRecord

    for result in results:
        if isinstance(result, AuditRecord):
            yield result
        else:
            unreadable.append(result.operation_id)
            console.print_error(f"The operation {result.operation_id} cannot be read: {result.reason}")


@_register
@click.argument("resource", metavar="ID")
@limit_option
@reveal_option
@json_option
def show(context: AdminContext, resource: str, limit: int, reveal: bool, as_json: bool) -> None:
    """Show all details of an instance, a binding or an operation.

    Instances and bindings are shown with their operations, the newest first. All matches of the ID are shown:
    a binding can have the same id as an instance, or as the binding of another instance.
    """
    store = _open_store(context)
    reports, is_truncated = _find_all(store, _reporter(context, store, reveal=reveal), resource, limit)
    if not reports:
        raise _command_error(f"there is no instance, binding or operation with the id {resource}")
    if as_json:
        console.print_json(reports)
    for number, report in enumerate([] if as_json else reports):
        if number:
            console.print_text("")
        output.print_details(report)
    output.print_truncation(is_truncated, limit)


def _find_all(store: Store, reporter: Reporter, resource_id: str, limit: int) -> tuple[list[Report], bool]:
    """Return reports on all resources and operations with an id, and whether a list was truncated."""
    from . import queries

    reports: list[Report] = []
    truncations: list[bool] = []

    def history(**keys: Any) -> dict[str, list[Report]]:
        rows, is_truncated = queries.list_operations(store, limit, **keys)
        truncations.append(is_truncated)
        return {"operations": [reporter.operation(operation, now) for operation, now in rows]}

    instance_row = queries.find_instance(store, resource_id)
    if instance_row is not None:
        reports.append(reporter.instance(*instance_row) | history(instance_key=instance_row[0].key))
    for instance, binding in queries.find_bindings(store, resource_id):
        keys = {"instance_key": instance.key, "binding_key": binding.key}
        reports.append(reporter.binding(instance, binding) | history(**keys))
    for instance_key, binding_key in queries.find_deleted_bindings(store, resource_id):
        past = history(instance_key=instance_key, binding_key=binding_key)
        if past["operations"]:
            ids = {name: past["operations"][0][name] for name in ("binding_id", "instance_id")}
            reports.append({"type": "binding", **ids, "state": "deleted", **past})
    operation = store.find_operation(resource_id)
    if operation is not None:
        reports.append(reporter.operation(*operation, with_request=True))
    return reports, any(truncations)


# Commands that write


@_register
@click.argument("operation")
@json_option
def retry(context: AdminContext, operation: str, as_json: bool) -> None:
    """Retry OPERATION, a background operation that failed.

    A running process of the broker starts it within a few seconds. The retry is refused if the instance or
    binding has had another operation since, or is busy.
    """
    from .queries import CommandRefused, retry_operation

    store = _open_store(context)
    try:
        record = retry_operation(store, context.catalog(), operation)
    except CommandRefused as refused:
        raise _command_error(f"the operation {operation} cannot be retried: {refused}") from None
    if as_json:
        result = store.find_operation(record.id) or (record, record.created_at)
        console.print_json([_reporter(context, store).operation(*result)])
    else:
        console.print_text(f"The operation {record.id} will be retried by a running broker process.")


@_register
@click.option(
    "--older-than", type=Age(), required=True, metavar="AGE", help="The minimum age, such as 12h, 30d or 4w."
)
@click.option("--dry-run", is_flag=True, help="Only count the records, and delete nothing.")
@json_option
def purge(context: AdminContext, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Delete the records of deleted instances and of finished operations that are older than AGE.

    Existing instances and bindings stay, with their last operation. Platforms can poll a deletion only until
    it is purged, so use an age of more than a week.
    """
    from .queries import purge_records

    result = purge_records(_open_store(context), older_than, dry_run=dry_run)
    if as_json:
        counts = {"instances": result.instances, "operations": result.operations}
        console.print_json([{**counts, "dry_run": dry_run}])
        return
    records = f"{plural(result.instances, 'instance')} and {plural(result.operations, 'operation')}"
    console.print_text(f"Would delete {records}." if dry_run else f"Deleted {records}.")


@_register
@json_option
def upgrade_store(context: AdminContext, as_json: bool) -> None:
    """Upgrade the store's tables to the schema version of this brokerkit. Stop the broker first."""
    from .queries import upgrade_schema

    before, after = upgrade_schema(_require_store(context))
    if as_json:
        console.print_json([{"before": before, "after": after}])
    elif before == after:
        console.print_text(f"The store already has schema version {after}.")
    elif before:
        console.print_text(f"Upgraded the store from schema version {before} to {after}.")
    else:
        console.print_text(f"Created the store with schema version {after}.")


@_register
@json_option
def rotate_keys(context: AdminContext, as_json: bool) -> None:
    """Reencrypt everything in the store with the newest key, while the broker runs.

    With a key file, this command adds the newest key to the file, and running processes load it from there.
    The previous key stays in the file until the next rotation, for data that is being written at this moment.

    With encryption_keys, first put the new key at the end of the list and restart all processes of the
    broker. Then move it to the front and restart them again. Then run this command, and remove the old keys.

    Values of earlier versions are bound to their row and column, even if the key stays the same. Stop all
    processes of earlier versions first. A minute later, all running processes refuse the old form.
    """
    from ..store.key_rotation import rotate

    result = rotate(_open_store(context))
    if as_json:
        keys = {"key_made": result.key_made, "keys_removed": result.keys_removed}
        console.print_json([{**result.reencrypted, **keys}])
        return
    if result.key_made:
        console.print_text("Added a new key to the key file.")
    counts = [plural(count, name.removesuffix("s")) for name, count in result.reencrypted.items()]
    console.print_text(f"Reencrypted with the newest key: {', '.join(counts)}.")
    if result.keys_removed:
        console.print_text(f"Removed {plural(result.keys_removed, 'older key')} from the key file.")
