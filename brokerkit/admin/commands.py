"""`flask broker …`: what operators do with a broker.

The commands come with the blueprint. They ask the store and start nothing; of rich, SQLAlchemy and the rest
they load only what they use.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec
from flask.cli import FlaskGroup

from .._internal import console as display
from .._internal.text import printable
from ..catalog.models import Catalog
from . import audit_table as _audit_table

if TYPE_CHECKING:
    from ..audit import AuditRecord
    from ..store.store import Store
    from .audit import UnreadableRecord
    from .reports import Report, Reporter


class AdminContext(NamedTuple):
    """What the commands work with.

    Args:
        catalog: Gives the catalog.
        store: The store; None of a broker that has none.
    """

    catalog: Callable[[], Catalog]
    store: Store | None


def is_upgrade_command() -> bool:
    """Is the app being loaded by Flask's command line only to see which commands it has?

    Then the command that upgrades a store must be found also where no broker can start on that store.
    `flask run`, as any server, loads the app otherwise; and whichever command serves opens the store first.
    """
    context = click.get_current_context(silent=True)
    return (
        context is not None and isinstance(context.command, FlaskGroup) and context.invoked_subcommand is None
    )


def commands(desk: AdminContext) -> list[click.Command]:
    """The commands for one broker."""
    return [_command(desk, function) for function in _COMMANDS]


_COMMANDS: list[Callable[..., None]] = []


def _of_operators(function: Callable[..., None]) -> Callable[..., None]:
    _COMMANDS.append(function)
    return function


def _command(desk: AdminContext, function: Callable[..., None]) -> click.Command:
    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> None:
        with _told_in_one_line(desk):
            function(desk, *args, **kwargs)

    parameters = getattr(function, "__click_params__", [])
    run.__click_params__ = list(parameters)  # type: ignore[attr-defined]
    return click.command(function.__name__.replace("_", "-"))(run)


@contextmanager
def _told_in_one_line(desk: AdminContext) -> Iterator[None]:
    """Say what went wrong with the store without a traceback, and once."""
    logger, quiet = logging.getLogger("brokerkit"), logging.NullHandler()
    logger.addHandler(quiet)  # what is logged goes where the app says, and not to stderr by itself
    try:
        yield
    except Exception as error:
        told = None if desk.store is None else _reason(error)
        if told is None:
            raise
        raise _refusal(told) from None
    finally:
        logger.removeHandler(quiet)


def _reason(error: Exception) -> str | None:
    """What there is to say of an error, if it is one of a store."""
    from ..store.database import reason
    from ..store.errors import StoreError, StoreUnavailable
    from .queries import CommandRefused

    if isinstance(error, StoreUnavailable):
        return f"the store is not available: {reason(error.__cause__ or error)}"
    return str(error) if isinstance(error, StoreError | CommandRefused) else None


def _refusal(told: str) -> click.ClickException:
    return click.ClickException(printable(" ".join(told.split())))


def _open(desk: AdminContext, *, as_it_is: bool = False) -> Store:
    """The store, open unless it is to be taken as it is."""
    if desk.store is None:
        raise _refusal("this broker has no store, so it remembers nothing; give Broker(store=…)")
    if not as_it_is:
        if not desk.store.exists:
            raise _refusal(f"there is no store at {desk.store.database}; the broker makes it when it starts")
        desk.store.open()
    return desk.store


def _reporter(desk: AdminContext, store: Store, *, reveal: bool = False) -> Reporter:
    from .reports import Reporter

    return Reporter(store, desk.catalog(), reveal=reveal)


# Options

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_MOST = 50
_NUMBER = click.IntRange(1, 1_000_000_000)  # a database counts no further than its integers go
_limit = click.option("--limit", type=_NUMBER, default=_MOST, show_default=True, help="Show so many at most.")
_reveal = click.option("--reveal", is_flag=True, help="Show parameters, credentials and data too.")


class _Age(click.ParamType[float]):
    """A duration such as 12h, 30d or 4w, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"([0-9]{1,9})([mhdw])", value) if isinstance(value, str) else None
        if match is None or int(match[1]) == 0:
            self.fail(f"{value!r} is no age; give one such as 45m, 12h, 30d or 4w", param, ctx)
        return int(match[1]) * _SECONDS[match[2]]


class _Since(click.ParamType[float | datetime]):
    """An age, in seconds; or a moment, in the zone of this machine unless it names another."""

    name = "since"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | datetime:
        if not isinstance(value, str):
            self.fail(f"{value!r} is no text", param, ctx)
        if re.fullmatch(r"[0-9]{1,9}[mhdw]", value):
            return _Age().convert(value, param, ctx)
        try:
            return datetime.fromisoformat(value).astimezone()
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is no age and no time; give one such as 12h or 7d, 2026-11-01 or"
                " 2026-11-01T12:00:00Z",
                param,
                ctx,
            )


_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


# What there is


@_of_operators
@_json
def catalog(desk: AdminContext, as_json: bool) -> None:
    """What the broker offers: each plan of each offering."""
    _print(_plans(desk.catalog()), as_json, _CATALOG, "The catalog has no offerings.")


def _plans(catalog: Catalog) -> list[Report]:
    """The plans of a catalog."""
    return [
        {
            "service": service.name,
            "service_id": service.id,
            "plan": plan.name,
            "plan_id": plan.id,
            "description": plan.description,
            "free": plan.free,
            "bindable": plan.bindable,
            "plan_updateable": plan.plan_updateable,
            "maintenance_version": plan.maintenance_info.version if plan.maintenance_info else None,
            "maximum_polling_duration": plan.maximum_polling_duration,
        }
        for service in catalog.services
        for plan in service.plans
    ]


@_of_operators
@click.option("--all", "deleted", is_flag=True, help="Show also those that were deleted.")
@_limit
@_reveal
@_json
def instances(desk: AdminContext, deleted: bool, limit: int, reveal: bool, as_json: bool) -> None:
    """The service instances, the newest first."""
    from .queries import list_instances

    store = _open(desk)
    reporter = _reporter(desk, store, reveal=reveal)
    found, more = list_instances(store, limit, deleted=deleted)
    columns = _INSTANCES | _INSTANCES_REVEALED if reveal else _INSTANCES
    _print([reporter.instance(*each) for each in found], as_json, columns, "There are no instances.")
    _tell_more(more, limit)


@_of_operators
@click.argument("instance", required=False)
@_limit
@_reveal
@_json
def bindings(desk: AdminContext, instance: str | None, limit: int, reveal: bool, as_json: bool) -> None:
    """The service bindings, of all instances or of INSTANCE, the newest first."""
    from .queries import find_instance, list_bindings

    store = _open(desk)
    key: str | None = None
    if instance is not None:
        known = find_instance(store, instance)
        if known is None:
            raise _refusal(f"there is no instance {instance}")
        key = known[0].key
    reporter = _reporter(desk, store, reveal=reveal)
    found, more = list_bindings(store, limit, key)
    columns = _BINDINGS | _BINDINGS_REVEALED if reveal else _BINDINGS
    _print([reporter.binding(*each) for each in found], as_json, columns, "There are no bindings.")
    _tell_more(more, limit)


@_of_operators
@click.option("--failed", "state", flag_value="failed", help="Only those that failed.")
@click.option("--in-progress", "state", flag_value="in progress", help="Only those that go on.")
@_limit
@_json
def operations(desk: AdminContext, state: str | None, limit: int, as_json: bool) -> None:
    """The operations on instances and bindings, the newest first."""
    from ..store.models import Progress
    from .queries import list_operations

    store = _open(desk)
    reporter = _reporter(desk, store)
    found, more = list_operations(store, limit, state=Progress(state) if state else None)
    none = f"No operation is {state}." if state == "in progress" else "No operation failed."
    reports = [reporter.operation(*each) for each in found]
    _print(reports, as_json, _OPERATIONS, none if state else "There are no operations.")
    _tell_more(more, limit)


@_of_operators
@click.option("--instance", metavar="ID", help="Only those of this instance and its bindings.")
@click.option("--binding", metavar="ID", help="Only those of bindings with this id.")
@click.option(
    "--since", type=_Since(), metavar="WHEN", help="Only those since then: 12h, 7d, 2026-11-01, a time."
)
@click.option(
    "--limit",
    type=_NUMBER,
    help=f"Show so many at most.  [default: {_MOST}, or with --since all]",
)
@_json
def audit(
    desk: AdminContext,
    instance: str | None,
    binding: str | None,
    since: float | datetime | None,
    limit: int | None,
    as_json: bool,
) -> None:
    """Who changed what, when, and how it ended: each change that the broker accepted, the newest first.

    Also of instances and bindings that were deleted, until their operations are purged. What was refused is
    not among them, as it changed nothing.
    """
    from . import audit as trail
    from .queries import matching_keys

    store = _open(desk)
    which = trail.AuditFilter(
        instance_keys=() if instance is None else matching_keys(instance),
        binding_keys=() if binding is None else matching_keys(binding),
        since=store.now() - since if isinstance(since, float) else _seconds(since),
    )
    most = _MOST if limit is None and since is None else limit
    found = trail.read_audit(store, desk.catalog(), which, None if most is None else most + 1)
    unreadable: list[str] = []
    records = _readable(islice(found, most), unreadable)
    if as_json:
        display.print_json_each(map(msgspec.to_builtins, records))
    else:
        every = which == trail.AuditFilter()
        _audit_table.print_changes(
            records, "There are no changes." if every else "There are no such changes."
        )
    _tell_more(next(found, None) is not None, most or 0)
    if unreadable:
        raise _refusal(f"{_number(len(unreadable), 'change')} could not be read")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _readable(
    found: Iterable[AuditRecord | UnreadableRecord], unreadable: list[str]
) -> Iterator[AuditRecord]:
    """The records, past those that nobody can read, of which each is told."""
    from ..audit import AuditRecord

    for each in found:
        if isinstance(each, AuditRecord):
            yield each
        else:
            unreadable.append(each.operation_id)
            display.print_error(f"The operation {each.operation_id} cannot be read: {each.reason}")


@_of_operators
@click.argument("resource", metavar="ID")
@_limit
@_reveal
@_json
def show(desk: AdminContext, resource: str, limit: int, reveal: bool, as_json: bool) -> None:
    """All that is known of an instance, a binding or an operation.

    Of an instance or binding with its operations, the newest first. All that have the ID are shown: a binding
    may have the same one as an instance, or as the binding of another instance.
    """
    store = _open(desk)
    found, more = _everything(store, _reporter(desk, store, reveal=reveal), resource, limit)
    if not found:
        raise _refusal(f"there is no instance, binding or operation {resource}")
    if as_json:
        display.print_json(found)
    for number, report in enumerate([] if as_json else found):
        if number:
            display.print_text("")
        history = report.pop("operations", None)
        display.print_facts(_told(report))
        if history:
            display.print_text("")
            display.print_table([_told(each) for each in history], _HISTORY)
    _tell_more(more, limit)


def _everything(store: Store, reporter: Reporter, told: str, limit: int) -> tuple[list[Report], bool]:
    """All that has an id; and whether there are more operations than are told."""
    from . import queries as operators

    def history(**keys: Any) -> dict[str, list[Report]]:
        found, more = operators.list_operations(store, limit, **keys)
        cut.append(more)
        return {"operations": [reporter.operation(*each) for each in found]}

    found: list[Report] = []
    cut: list[bool] = []
    known = operators.find_instance(store, told)
    if known is not None:
        found.append(reporter.instance(*known) | history(instance_key=known[0].key))
    for instance, binding in operators.find_bindings(store, told):
        keys = {"instance_key": instance.key, "binding_key": binding.key}
        found.append(reporter.binding(instance, binding) | history(**keys))
    for instance_key, binding_key in operators.find_deleted_bindings(store, told):
        past = history(instance_key=instance_key, binding_key=binding_key)
        if past["operations"]:
            ids = {name: past["operations"][0][name] for name in ("binding_id", "instance_id")}
            found.append({"type": "binding", **ids, "state": "deleted", **past})
    operation = store.find_operation(told)
    if operation is not None:
        found.append(reporter.operation(*operation, whole=True))
    return found, any(cut)


# What can be done


@_of_operators
@click.argument("operation")
@_json
def retry(desk: AdminContext, operation: str, as_json: bool) -> None:
    """Begin OPERATION once more, that worked in the background and failed.

    A running process of the broker takes it up within a few seconds. It is refused if it makes no sense: if
    its instance or binding has had another operation since, or is busy.
    """
    from .queries import CommandRefused
    from .queries import retry as begin_again

    store = _open(desk)
    try:
        again = begin_again(store, desk.catalog(), operation)
    except CommandRefused as refused:
        raise _refusal(f"the operation {operation} cannot be tried again: {refused}") from None
    if as_json:
        found = store.find_operation(again.id) or (again, again.created_at)
        display.print_json([_reporter(desk, store).operation(*found)])
    else:
        display.print_text(
            f"The operation {again.id} begins once more, as soon as a process of the broker sees it."
        )


@_of_operators
@click.option("--older-than", type=_Age(), required=True, metavar="AGE", help="Such as 12h, 30d or 4w.")
@click.option("--dry-run", is_flag=True, help="Only tell how many would be deleted.")
@_json
def purge(desk: AdminContext, older_than: float, dry_run: bool, as_json: bool) -> None:
    """Delete what is kept of instances that were deleted, and operations that ended, AGE ago.

    Instances and bindings that exist are not touched, and keep the last operation that they had. Platforms
    can ask how a deletion went until it is purged, so keep more than a week.
    """
    from .queries import purge as delete

    done = delete(_open(desk), older_than, dry_run=dry_run)
    if as_json:
        display.print_json([{"instances": done.instances, "operations": done.operations, "dry_run": dry_run}])
        return
    what = f"{_number(done.instances, 'instance')} and {_number(done.operations, 'operation')}"
    display.print_text(f"Would delete {what}." if dry_run else f"Deleted {what}.")


@_of_operators
@_json
def upgrade_store(desk: AdminContext, as_json: bool) -> None:
    """Bring the store's tables to the version that this brokerkit works with; stop the broker before."""
    from .queries import upgrade

    before, after = upgrade(_open(desk, as_it_is=True))
    if as_json:
        display.print_json([{"before": before, "after": after}])
    elif before == after:
        display.print_text(f"The store has version {after} already.")
    else:
        had = f"had version {before}, and" if before else "was empty, and"
        display.print_text(f"The store {had} has version {after} now.")


@_of_operators
@_json
def rotate_keys(desk: AdminContext, as_json: bool) -> None:
    """Seal everything in the store with the newest key, while the broker runs.

    With a key file, the newest is made by this command, and running processes find it there by themselves.
    The one before stays in the file until the next rotation, for what was being written at that moment.

    With encryption_keys, put the new key behind the others and restart all processes of the broker, so that
    each can read what it seals; put it in front, and restart them again; run this; then take the others out.
    """
    from ..store.key_rotation import rotate

    done = rotate(_open(desk))
    if as_json:
        made = {"key_made": done.key_made, "keys_removed": done.keys_removed}
        display.print_json([{**done.reencrypted, **made}])
        return
    if done.key_made:
        display.print_text("A new key is in front of the key file.")
    sealed = [_number(number, name.removesuffix("s")) for name, number in done.reencrypted.items()]
    display.print_text(f"Sealed anew with the newest key: {', '.join(sealed)}.")
    if done.keys_removed:
        display.print_text(f"Took {_number(done.keys_removed, 'older key')} out of the key file.")


# Printing

_CATALOG = {
    "service": "service",
    "plan": "plan",
    "description": "description",
    "bindable": "bindable",
    "free": "free",
    "maintenance_version": "version",
    "plan_id": "plan id",
}
_INSTANCES = {
    "instance_id": "instance",
    "service": "service",
    "plan": "plan",
    "state": "state",
    "bindings": "bindings",
    "created_at": "created",
}
_INSTANCES_REVEALED = {"parameters": "parameters", "data": "data"}
_BINDINGS = {
    "binding_id": "binding",
    "instance_id": "instance",
    "service": "service",
    "plan": "plan",
    "state": "state",
    "created_at": "created",
    "expires_at": "expires",
}
_BINDINGS_REVEALED = {"parameters": "parameters", "credentials": "credentials", "data": "data"}
_HISTORY = {
    "operation_id": "operation",
    "kind": "kind",
    "mode": "mode",
    "state": "state",
    "attempt": "attempt",
    "created_at": "created",
    "updated_at": "changed",
    "description": "description",
}
_OPERATIONS = {
    "operation_id": "operation",
    "kind": "kind",
    "instance_id": "instance",
    "binding_id": "binding",
    "state": "state",
    "created_at": "created",
    "description": "description",
}
_TIMES = frozenset(
    {
        "created_at",
        "updated_at",
        "expires_at",
        "renew_before",
        "lease_until",
        "wake_at",
        "deadline",
    }
)


def _print(reports: Sequence[Report], as_json: bool, columns: dict[str, str], none: str) -> None:
    if as_json:
        display.print_json(reports)
    elif not reports:
        display.print_text(none)
    else:
        display.print_table([_told(report) for report in reports], columns)


def _told(report: Report) -> Report:
    """A report for people, who live in a time zone."""
    return {
        name: display.local_time(value) if name in _TIMES and value else value
        for name, value in report.items()
    }


def _tell_more(more: bool, limit: int) -> None:
    if more:
        display.print_note(f"There are more than {limit}; --limit shows more.")


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
