"""Every statement of a store: how it is read, and each of its transitions, which compare and set."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Case,
    ColumnElement,
    Dialect,
    Double,
    Insert,
    Select,
    String,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from .records import Mode, Progress, State
from .tables import bindings, instances, operations
from .transitions import Query, Step, Transition

CLOCKS = {
    "postgresql": "extract(epoch from statement_timestamp())::double precision",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
_LESSER = {"postgresql": "least", "sqlite": "min"}


class Statements:
    """Every statement of a store, compiled for its database.

    Names of parameters begin with what they are of: `o_` an operation, `i_` an instance, `b_` a binding.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        now: ColumnElement[float] = literal_column(CLOCKS[dialect.name], Double())
        self._now = now
        self.find_instance = self._query(self._finding_instance())
        self.find_binding = self._query(self._finding_binding())
        self.find_operation = self._query(select(operations, now).where(operations.c.id == _text("o_id")))
        self.last_of_binding = self._query(
            select(operations, now)
            .where(
                operations.c.instance_id == _text("i_id"),
                operations.c.binding_id == _text("b_id"),
            )
            .order_by(operations.c.created_at.desc(), operations.c.id.desc())
            .limit(1)
        )
        self.bindings_of = self._query(
            select(bindings)
            .where(bindings.c.instance_id == _text("i_id"))
            .order_by(bindings.c.created_at, bindings.c.id)
        )
        self._claims(now)
        self._ends(now)
        self._attempts(now)
        self._sweeps(now)

    # Looking

    def _finding_instance(self) -> Select[Any]:
        last = operations.alias("last")
        return (
            select(instances, last, self._now)
            .outerjoin_from(instances, last, last.c.id == instances.c.operation)
            .where(instances.c.id == _text("i_id"))
        )

    def _finding_binding(self) -> Select[Any]:
        last, own = operations.alias("last"), operations.alias("own")
        is_it = (bindings.c.instance_id == instances.c.id) & (bindings.c.id == _text("b_id"))
        return (
            select(instances, last, bindings, own, self._now)
            .outerjoin_from(instances, last, last.c.id == instances.c.operation)
            .outerjoin(bindings, is_it)
            .outerjoin(own, own.c.id == bindings.c.operation)
            .where(instances.c.id == _text("i_id"))
        )

    # Claims: an operation begins, if the instance and binding are still as they were seen

    def _claims(self, now: ColumnElement[float]) -> None:
        born = {
            "revision": 1,
            "state": State.CREATING.value,
            "service_id": bindparam("o_service_id", type_=String()),
            "plan_id": bindparam("o_plan_id", type_=String()),
            "busy_bindings": 0,
            "operation": _text("o_id"),
            "attributes": _blob("i_attributes"),
            "result": null(),
            "created_at": now,
            "updated_at": now,
        }
        upsert = (postgresql if self._dialect.name == "postgresql" else sqlite).insert(instances)
        reborn = {**born, "revision": instances.c.revision + 1}
        begun = Step(self._insert_operation(now), must=True)
        self.claim_new_instance = self._transition(
            Step(
                upsert.values(id=_text("i_id"), **born).on_conflict_do_update(
                    index_elements=["id"], set_=reborn, where=instances.c.state == State.DELETED.value
                )
            ),
            begun,
        )
        seen = (instances.c.id == _text("i_id")) & (instances.c.revision == _number("i_revision"))
        self.claim_instance = self._transition(
            Step(
                update(instances)
                .values(revision=instances.c.revision + 1, operation=_text("o_id"))
                .where(seen, instances.c.busy_bindings == 0)
            ),
            begun,
        )
        busy = Step(update(instances).values(busy_bindings=instances.c.busy_bindings + 1).where(seen))
        self.claim_new_binding = self._transition(
            busy,
            Step(
                insert(bindings).values(
                    instance_id=_text("i_id"),
                    id=_text("b_id"),
                    revision=1,
                    state=State.CREATING.value,
                    operation=_text("o_id"),
                    attributes=_blob("b_attributes"),
                    created_at=now,
                    updated_at=now,
                ),
                must=True,
            ),
            begun,
        )
        self.claim_binding = self._transition(
            busy,
            Step(
                update(bindings)
                .values(revision=bindings.c.revision + 1, operation=_text("o_id"))
                .where(*_THE_BINDING, bindings.c.revision == _number("b_revision")),
                must=True,
            ),
            begun,
        )

    def _insert_operation(self, now: ColumnElement[float]) -> Insert:
        return insert(operations).values(
            id=_text("o_id"),
            instance_id=_text("i_id"),
            binding_id=_text("b_id"),
            kind=_text("o_kind"),
            mode=_text("o_mode"),
            state=Progress.IN_PROGRESS.value,
            service_id=_text("o_service_id"),
            plan_id=_text("o_plan_id"),
            attempt=_number("o_attempt"),
            attempts_before=0,
            lease_until=now + _seconds("o_lease"),
            wake_at=now + _seconds("o_wake"),
            deadline=now + _seconds("o_deadline"),
            follows=_text("o_follows"),
            created_at=now,
            updated_at=now,
            request=_blob("o_request"),
        )

    # Ends: an operation is over, or goes on elsewhere, and its instance or binding is what it is then

    def _ends(self, now: ColumnElement[float]) -> None:
        over = (
            update(operations)
            .values(
                state=_text("o_state"),
                outcome=func.coalesce(_blob("o_outcome"), operations.c.outcome),
                wake_at=None,
                updated_at=now,
            )
            .where(*_CURRENT)
        )
        done = Step(over.values(lease_until=None))
        abandoned = Step(over)  # by who does not run it; who does may do so still
        expired = Step(over.values(lease_until=None).where(_IS_CALLED_OUT, operations.c.wake_at <= now))
        instance = Step(
            update(instances)
            .values(
                revision=instances.c.revision + 1,
                state=func.coalesce(_text("i_state"), instances.c.state),
                plan_id=func.coalesce(_text("i_plan_id"), instances.c.plan_id),
                attributes=func.coalesce(_blob("i_attributes"), instances.c.attributes),
                result=func.coalesce(_blob("i_result"), instances.c.result),
                updated_at=now,
            )
            .where(instances.c.id == _text("i_id"))
        )
        binding = Step(
            update(bindings)
            .values(
                revision=bindings.c.revision + 1,
                state=func.coalesce(_text("b_state"), bindings.c.state),
                result=func.coalesce(_blob("b_result"), bindings.c.result),
                updated_at=now,
            )
            .where(*_THE_BINDING)
        )
        at_rest = Step(
            update(instances)
            .values(busy_bindings=instances.c.busy_bindings - 1)
            .where(instances.c.id == _text("i_id"))
        )
        no_binding = Step(delete(bindings).where(*_THE_BINDING))
        no_bindings = Step(delete(bindings).where(bindings.c.instance_id == _text("i_id")))
        no_instance = Step(
            update(instances)
            .values(
                revision=instances.c.revision + 1,
                state=State.DELETED.value,
                attributes=b"",
                result=None,
                updated_at=now,
            )
            .where(instances.c.id == _text("i_id"))
        )
        self.end_instance = self._transition(done, instance)
        self.end_binding = self._transition(done, at_rest, binding)
        self.end_deprovision = self._transition(done, no_instance, no_bindings)
        self.end_unbind = self._transition(done, at_rest, no_binding)
        self.abandon_instance = self._transition(abandoned, instance)
        self.abandon_binding = self._transition(abandoned, at_rest, binding)
        self.expire_instance = self._transition(expired, instance)
        self.expire_binding = self._transition(expired, at_rest, binding)

        withdrawn = Step(delete(operations).where(*_CURRENT))
        self.withdraw_provision = self._transition(
            withdrawn,
            Step(delete(instances).where(instances.c.id == _text("i_id"), instances.c.revision == 1)),
            Step(
                update(instances)
                .values(
                    revision=instances.c.revision + 1,
                    state=State.DELETED.value,
                    operation=select(func.max(operations.c.id))
                    .where(
                        operations.c.instance_id == _text("i_id"),
                        operations.c.binding_id.is_(None),
                        operations.c.id != _text("o_id"),
                    )
                    .scalar_subquery(),
                    attributes=b"",
                )
                .where(instances.c.id == _text("i_id"), instances.c.revision > 1)
            ),
        )
        self.withdraw_change = self._transition(
            withdrawn,
            Step(
                update(instances)
                .values(revision=instances.c.revision + 1, operation=_text("o_previous"))
                .where(instances.c.id == _text("i_id"))
            ),
        )
        self.withdraw_bind = self._transition(withdrawn, at_rest, no_binding)
        self.withdraw_unbind = self._transition(
            withdrawn,
            at_rest,
            Step(
                update(bindings)
                .values(revision=bindings.c.revision + 1, operation=_text("o_previous"))
                .where(*_THE_BINDING)
            ),
        )

        accepted = Step(
            update(operations)
            .values(
                mode=Mode.POLLED.value,
                request=_blob("o_request"),
                outcome=_blob("o_outcome"),
                lease_until=None,
                wake_at=operations.c.deadline,
                updated_at=now,
            )
            .where(*_CURRENT)
        )
        self.accept_instance = self._transition(
            accepted,
            Step(
                update(instances)
                .values(result=func.coalesce(_blob("i_result"), instances.c.result))
                .where(instances.c.id == _text("i_id"))
            ),
        )
        self.accept_binding = self._transition(
            accepted,
            Step(
                update(bindings)
                .values(result=func.coalesce(_blob("b_result"), bindings.c.result))
                .where(*_THE_BINDING)
            ),
        )

    # Attempts: a background operation is begun, goes on, waits, is given back

    def _attempts(self, now: ColumnElement[float]) -> None:
        lesser = getattr(func, _LESSER[self._dialect.name])
        before = operations.alias("before")
        may_run_before = exists(
            select(literal_column("1")).where(
                before.c.id == operations.c.follows, before.c.lease_until >= operations.c.wake_at
            )
        )
        self.begin = self._transition(
            Step(
                update(operations)
                .values(
                    attempt=operations.c.attempt + 1,
                    lease_until=now + _seconds("lease"),
                    wake_at=lesser(now + _seconds("lease"), operations.c.deadline),
                    updated_at=now,
                )
                .where(
                    *_CURRENT,
                    operations.c.mode == Mode.BACKGROUND.value,
                    operations.c.wake_at <= now,
                    or_(operations.c.lease_until.is_(None), _IS_CALLED_OUT),
                    ~may_run_before,
                )
            )
        )
        self.tell = self._transition(
            Step(
                update(operations)
                .values(outcome=_blob("o_outcome"), updated_at=now)
                .where(*_CURRENT, operations.c.deadline > now)
            )
        )
        self.postpone = self._transition(
            Step(
                update(operations)
                .values(
                    lease_until=None,
                    wake_at=lesser(now + _seconds("after"), operations.c.deadline),
                    outcome=func.coalesce(_blob("o_outcome"), operations.c.outcome),
                    updated_at=now,
                )
                .where(*_CURRENT)
            )
        )
        left = Step(
            update(operations)
            .values(lease_until=None)
            .where(
                operations.c.id == _text("o_id"),
                operations.c.attempt == _number("o_attempt"),
                operations.c.lease_until > now,
            )
        )
        followers = Step(
            update(operations)
            .values(wake_at=now)
            .where(
                operations.c.instance_id == _text("i_id"),
                operations.c.follows == _text("o_id"),
                operations.c.state == Progress.IN_PROGRESS.value,
            )
        )
        after = operations.alias("after")

        def is_ours(last: Any) -> Any:
            """The last operation is the one that was given up, or one that waits for it."""
            waits = exists(
                select(literal_column("1")).where(
                    after.c.id == last, after.c.follows == _text("o_id"), after.c.attempt == 0
                )
            )
            return or_(last == _text("o_id"), waits)

        # The revisions, so that who is about to follow looks anew, and sees that it need not wait.
        instance = Step(
            update(instances)
            .values(
                revision=instances.c.revision + 1,
                result=func.coalesce(_blob("i_result"), instances.c.result),
            )
            .where(instances.c.id == _text("i_id"), is_ours(instances.c.operation))
        )
        binding = Step(
            update(bindings)
            .values(
                revision=bindings.c.revision + 1,
                result=func.coalesce(_blob("b_result"), bindings.c.result),
            )
            .where(*_THE_BINDING, is_ours(bindings.c.operation))
        )
        self.leave_instance = self._transition(left, followers, instance)
        self.leave_binding = self._transition(left, followers, binding)
        self.renew = self._transition(
            Step(
                update(operations)
                .values(
                    lease_until=now + _seconds("lease"),
                    wake_at=_waking(now, lesser),
                )
                .where(
                    operations.c.id == _text("o_id"),
                    operations.c.attempt == _number("o_attempt"),
                    operations.c.lease_until.is_not(None),
                    # Of what was given up, a lease that has ended stays so: what follows may have begun.
                    or_(operations.c.state == Progress.IN_PROGRESS.value, operations.c.lease_until > now),
                )
            )
        )
        can_be_repeated = exists(
            select(literal_column("1")).where(
                operations.c.id == _text("o_id"),
                operations.c.state == Progress.FAILED.value,
                operations.c.mode == Mode.BACKGROUND.value,
                or_(operations.c.lease_until.is_(None), operations.c.lease_until < now),
            )
        )
        # First the instance: every claim changes one of these two, and PostgreSQL looks at the row that it
        # waited for anew, but not at what a subquery found.
        as_seen = (
            update(instances)
            .where(
                instances.c.id == _text("i_id"),
                instances.c.revision == _number("i_revision"),
                instances.c.busy_bindings == _number("i_busy"),
                can_be_repeated,
            )
            .values(revision=instances.c.revision + 1)
        )
        again = Step(
            update(operations)
            .values(
                state=Progress.IN_PROGRESS.value,
                attempts_before=operations.c.attempt,
                outcome=None,
                wake_at=now,
                deadline=now + _seconds("o_deadline"),
                updated_at=now,
            )
            .where(operations.c.id == _text("o_id"), operations.c.state == Progress.FAILED.value),
            must=True,
        )
        is_last_of_binding = exists(
            select(literal_column("1")).where(*_THE_BINDING, bindings.c.operation == _text("o_id"))
        )
        self.repeat_instance = self._transition(
            Step(
                as_seen.values(state=func.coalesce(_text("i_state"), instances.c.state)).where(
                    instances.c.operation == _text("o_id"),
                    instances.c.busy_bindings == 0,
                    instances.c.state != State.DELETED.value,
                )
            ),
            again,
        )
        self.repeat_binding = self._transition(
            Step(as_seen.values(busy_bindings=instances.c.busy_bindings + 1).where(is_last_of_binding)),
            again,
            Step(
                update(bindings)
                .values(
                    revision=bindings.c.revision + 1,
                    state=func.coalesce(_text("b_state"), bindings.c.state),
                )
                .where(*_THE_BINDING)
            ),
        )

    # Sweeps: what must be looked at

    def _sweeps(self, now: ColumnElement[float]) -> None:
        # Written out, not a parameter: only so does a planner know that the partial index will do.
        in_progress = operations.c.state == literal_column(f"'{Progress.IN_PROGRESS.value}'")
        self.due = self._query(
            select(operations, now)
            .where(in_progress, operations.c.wake_at <= now)
            .order_by(operations.c.wake_at)
            .limit(_number("limit"))
        )
        self.next_due = self._query(select(func.min(operations.c.wake_at) - now).where(in_progress))
        before = operations.alias("before")
        lease_before = (
            select(before.c.lease_until).where(before.c.id == operations.c.follows).scalar_subquery()
        )
        self.call_out = self._transition(
            Step(
                update(operations)
                .values(wake_at=case((lease_before > now, lease_before), else_=now + _seconds("grace")))
                .where(
                    operations.c.id == _text("o_id"),
                    in_progress,
                    operations.c.wake_at <= now,
                    or_(
                        operations.c.lease_until >= operations.c.wake_at,
                        lease_before >= operations.c.wake_at,
                    ),
                )
            )
        )

    def _transition(self, *steps: Step) -> Transition:
        return Transition(self._dialect, *steps)

    def _query(self, statement: Select[Any]) -> Query:
        return Query(self._dialect, statement)


def _text(name: str) -> Any:
    return bindparam(name, type_=String())


def _number(name: str) -> Any:
    return bindparam(name, type_=operations.c.attempt.type)


def _seconds(name: str) -> Any:
    return bindparam(name, type_=Double())


def _blob(name: str) -> Any:
    return bindparam(name, type_=operations.c.request.type)


_CURRENT = (
    operations.c.id == _text("o_id"),
    operations.c.attempt == _number("o_attempt"),
    operations.c.state == Progress.IN_PROGRESS.value,
)
"""An operation that is in progress, in the attempt that its writer knows: the fence."""

_IS_CALLED_OUT = operations.c.wake_at > operations.c.lease_until
"""Somebody noted that a lease had ended, and who may live had time to renew it. A lease ends at `wake_at`."""

_THE_BINDING = (bindings.c.instance_id == _text("i_id"), bindings.c.id == _text("b_id"))


def _waking(now: ColumnElement[float], lesser: Any) -> Case[Any]:
    """Who runs at once has no deadline; who works in the background has, and then its end is looked at."""
    lease = now + _seconds("lease")
    return case(
        (operations.c.state != Progress.IN_PROGRESS.value, null()),
        (operations.c.mode == Mode.AT_ONCE.value, lease),
        else_=lesser(lease, operations.c.deadline),
    )


_COMPILED: dict[str, Statements] = {}


def statements_for(dialect: Dialect) -> Statements:
    """The statements for a kind of database, compiled once for all stores on it."""
    found = _COMPILED.get(dialect.name)
    if found is None:
        found = _COMPILED[dialect.name] = Statements(dialect)
    return found
