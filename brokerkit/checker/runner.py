"""The check: reads the catalog, runs the scenarios, cleans up, and evaluates the observations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from time import monotonic
from typing import NamedTuple

from msgspec.structs import replace

from ..catalog.models import Document
from ..catalog.validation import Finding, find_faults, find_warnings
from ..client import endpoints
from ..client.exchange import Exchange
from ..client.platforms import PLATFORMS, Platform, cloudfoundry
from ..client.transport import Login, Transport
from .cleanup import clean_up, leftovers
from .evaluation import evaluate
from .options import Options, Progress, key_matches
from .parameter_file import find_value, keys, parameter_sets, unused_keys
from .registry import RULES
from .report import Report
from .rule import Rule
from .scenarios.access import Access
from .scenarios.cancellation import CANCELLATION_SITUATIONS, Cancellation
from .scenarios.instance_lifecycle import InstanceLifecycle
from .scenarios.invalid_requests import INVALID_REQUEST_SITUATIONS, InvalidRequests
from .scenarios.orphan_mitigation import OrphanMitigation
from .scenarios.special_ids import SPECIAL_ID_SITUATIONS
from .session import MAX_CATALOG_SIZE, BrokerGone, CheckSession
from .situations import ACCESS_SITUATIONS, Situation
from .targets import Node, ParameterExamples, PlanChange, Target, choose_parameters, plans, schema
from .thread_pool import run_in_threads

_ORPHAN_SECONDS = 30.0
_CLEANUP_SECONDS = 60.0
_POLL_SECONDS = 0.2
_CANCELLED_PLANS = 4
"""The number of plans per offering whose instances are created concurrently and cancelled."""
_NOT_IN_LIFECYCLE = (
    ACCESS_SITUATIONS
    | CANCELLATION_SITUATIONS
    | INVALID_REQUEST_SITUATIONS
    | {Situation.CATALOG, Situation.ORPHAN_DELETED}
)
_MAX_ENTRIES = 5_000
_MAX_FINDINGS = 10_000
_MAX_PROBLEMS = 5

ProgressCallback = Callable[[Progress], None]


class _CheckError(Exception):
    """The check cannot continue."""


class _Step(NamedTuple):
    """A step of the check.

    Args:
        description: A short description.
        run: Runs the step; returns the problem that prevented it, if any.
    """

    description: str
    run: Callable[[], str | None]


def check(url: str, options: Options | None = None, *, progress: ProgressCallback | None = None) -> Report:
    """Check a service broker against the rules of the API.

    The check deletes everything that it created, even if it is interrupted with Ctrl-C. The report lists
    the resources that it could not delete.

    Args:
        url: The base URL of the broker, without ``/v2``.
        options: The credentials, the rules and the plans to check. Defaults to ``Options()``.
        progress: Receives the progress. Defaults to none.

    Returns:
        A report with a verdict for each rule. If the broker is unreachable or rejects the credentials, the
        report says so.

    Raises:
        ValueError: The URL is invalid, the credentials are incomplete, a rule is unknown, or no rule is left.
    """
    options = options or Options()
    rules = _rules(options)
    login = Login(options.username, options.password, options.token)
    transport = Transport(url, login, timeout=options.timeout, verify=options.verify)
    return _Check(
        CheckSession(transport, _platform(options)), options, rules, progress or (lambda _: None)
    ).run()


def _rules(options: Options) -> Sequence[Rule]:
    """Select the rules; reject unknown names, which would select nothing and find no fault."""
    for prefix in (*options.only, *options.skip):
        if not any(key_matches(rule.key, prefix) for rule in RULES):
            raise ValueError(f"there is no rule {prefix!r}; 'brokerkit check --list' lists all of them")
    rules = [rule for rule in RULES if options.wants(rule.key, rule.level)]
    if not rules:
        raise ValueError("no rule is left to judge; see only, skip and level")
    return rules


def _platform(options: Options) -> Platform:
    if options.platform is None:
        return replace(
            cloudfoundry(), api_version="2.17", headers={}
        )  # A rule of its own sends those headers.
    if isinstance(options.platform, Platform):
        return options.platform
    return PLATFORMS[options.platform]()


class _Check:
    """One check, from its first request to its report."""

    def __init__(
        self, session: CheckSession, options: Options, rules: Sequence[Rule], progress: ProgressCallback
    ) -> None:
        self._session = session
        self._options = options
        self._progress = progress
        self._rules = rules
        self._situations = {situation for rule in rules for situation in rule.situations}
        self._any_response = any(not rule.situations for rule in rules)
        self._parameters = parameter_sets(options.parameters)
        self._targets: Sequence[Target] = ()
        self._problems: list[str] = []
        self._running: dict[Future[str | None], _Step] = {}
        self._chosen: dict[tuple[str, str, str], ParameterExamples] = {}

    def run(self) -> Report:
        """Run the check."""
        began, started_at = monotonic(), datetime.now(UTC)
        try:
            self._work()
        except (_CheckError, BrokerGone) as error:
            self._problems.insert(0, str(error))
        except KeyboardInterrupt:
            self._problems.insert(0, "interrupted")
        except Exception as error:
            self._clean_up()
            for leftover in leftovers(self._session):
                error.add_note(f"left behind: {leftover.curl}")
            raise
        self._clean_up()
        return Report(
            url=self._session.transport.url,
            started_at=started_at,
            seconds=monotonic() - began,
            requests=self._session.sent,
            plans=tuple(target.name for target in self._targets),
            verdicts=tuple(evaluate(self._rules, self._session.observations, self._session.skipped)),
            leftovers=tuple(leftovers(self._session)),
            problem=_join_problems(self._problems),
        )

    def _clean_up(self) -> None:
        """Delete all resources after the running steps ended. Ctrl-C ends the cleanup."""
        self._session.stop.set()
        try:
            self._progress(Progress(1, 1, "waiting for the last responses"))
            wait(self._running)
            clean_up(
                self._session,
                _CLEANUP_SECONDS,
                at_most=max(self._options.operation_timeout, _CLEANUP_SECONDS),
                on_progress=lambda description: self._progress(Progress(1, 1, description)),
            )
        except KeyboardInterrupt:
            self._problems.append("interrupted again")

    def _work(self) -> None:
        self._progress(Progress(0, 1, "reading the catalog"))
        catalog = self._catalog()
        document = catalog.document or {}
        self._targets = self._choose(document)
        if not self._targets:
            raise _CheckError("the catalog has no plan")
        self._run(list(self._lanes(catalog)))

    # Catalog

    def _catalog(self) -> Exchange:
        """Read the catalog, and record its findings."""
        request = endpoints.catalog()
        exchange = self._session.send(request, whole=True)
        if exchange.status in (401, 403):
            raise _CheckError(f"the service broker rejects the credentials: {exchange.response_line}")
        if len(exchange.response_body) >= MAX_CATALOG_SIZE:
            raise _CheckError(f"the catalog has more than {MAX_CATALOG_SIZE:,} bytes, which is the limit")
        document = exchange.document or {}
        if (size := _size(document)) > _MAX_ENTRIES:
            raise _CheckError(f"the catalog has {size:,} offerings and plans; the limit is {_MAX_ENTRIES:,}")
        faults = _first_findings(find_faults(document, Document, {})) if document else ()
        findings = (*faults, *_first_findings(find_warnings(document)))
        self._session.record(
            Situation.CATALOG,
            "the catalog",
            request,
            exchange,
            findings=findings,
            plans=tuple(plans(document)),
        )
        if not isinstance(document.get("services"), list):
            raise _CheckError(f"there is no catalog at {request.path}: {exchange.response_line[:300]}")
        self._session.is_known = exchange.status == 200
        return exchange

    def _choose(self, document: Node) -> Sequence[Target]:
        """Choose the plans to check."""
        all_plans = list(plans(document))
        all_names = [
            (str(offering.get("name")), offering["id"], str(plan.get("name")), plan["id"])
            for offering, plan in all_plans
        ]
        if unknown := unused_keys(self._parameters, all_names):
            raise _CheckError(
                f"there are parameters for {', '.join(unknown)}, which the catalog does not have"
            )
        selected = self._options.plans
        if absent := [key for key in selected if not any(key in keys(*names) for names in all_names)]:
            raise _CheckError(f"the catalog has no plan or offering {', '.join(absent)}")
        return tuple(
            self._target(offering, plan, all_plans)
            for (offering, plan), names in zip(all_plans, all_names, strict=True)
            if not selected or any(key in keys(*names) for key in selected)
        )

    def _target(self, offering: Node, plan: Node, all_plans: Sequence[tuple[Node, Node]]) -> Target:
        siblings = [
            other
            for its_offering, other in all_plans
            if its_offering["id"] == offering["id"] and other["id"] != plan["id"]
        ]
        return Target(
            offering=offering,
            plan=plan,
            sibling_plans=siblings,
            other_offering_plans=[
                other for its_offering, other in all_plans if its_offering["id"] != offering["id"]
            ],
            plan_change=next(
                (
                    PlanChange(sibling["id"], create.minimal)
                    for sibling in siblings
                    if (create := self._create(offering, sibling)).is_known
                ),
                None,
            ),
            create=self._create(offering, plan),
            update=self._parameters_for(offering, plan, "update", "service_instance", "update"),
            bind=self._parameters_for(offering, plan, "bind", "service_binding", "create"),
        )

    def _create(self, offering: Node, plan: Node) -> ParameterExamples:
        return self._parameters_for(offering, plan, "provision", "service_instance", "create")

    def _parameters_for(
        self, offering: Node, plan: Node, action: str, resource: str, schema_action: str
    ) -> ParameterExamples:
        """Choose the parameters for an action, once per plan: plans also need those of their siblings."""
        key = (offering["id"], plan["id"], action)
        if key not in self._chosen:
            names = (str(offering.get("name")), offering["id"], str(plan.get("name")), plan["id"])
            from_user = find_value(self._parameters, *names, action)
            self._chosen[key] = choose_parameters(schema(plan, resource, schema_action), from_user)
        return self._chosen[key]

    # Scenarios

    def _lanes(self, catalog: Exchange) -> Iterator[Sequence[_Step]]:
        """Yield the steps that the selected rules need, in one lane per offering.

        The steps of an offering run sequentially: a broker may allow only one instance of a plan.
        Orphan mitigation comes last, as it may leave an instance behind.
        """
        offerings: dict[str, list[Target]] = {}
        for target in self._targets:
            offerings.setdefault(target.service_id, []).append(target)
        for targets in offerings.values():
            yield [_Step(target.name, run) for target, run in self._runs(targets)]
        if self._any_response or self._situations & ACCESS_SITUATIONS:
            access = Access(
                self._session, max(self._targets, key=_endpoints), self._options.operation_timeout
            )
            yield [_Step("versions and credentials", partial(access.run, catalog))]

    def _runs(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Callable[[], str | None]]]:
        """Yield the scenarios for the plans of an offering."""
        session, limit = self._session, self._options.operation_timeout
        for number, target in enumerate(targets):
            is_first = number == 0
            if self._any_response or self._situations - _NOT_IN_LIFECYCLE:
                special_id = is_first and not self._situations.isdisjoint(SPECIAL_ID_SITUATIONS)
                yield (
                    target,
                    partial(_run_lifecycle, InstanceLifecycle(session, target, limit), special_id=special_id),
                )
            if self._situations & CANCELLATION_SITUATIONS and number < _CANCELLED_PLANS:
                yield target, Cancellation(session, target, limit).run
            if self._any_response or self._situations & INVALID_REQUEST_SITUATIONS:
                yield target, partial(InvalidRequests(session, target, limit).run, all_requests=is_first)
        if Situation.ORPHAN_DELETED in self._situations:
            yield targets[0], partial(OrphanMitigation(session, targets[0], limit).run, _ORPHAN_SECONDS)

    def _run(self, lanes: Sequence[Sequence[_Step]]) -> None:
        """Run the lanes in threads."""
        futures = run_in_threads([[step.run for step in lane] for lane in lanes], self._options.jobs)
        self._running = dict(zip(futures, (step for lane in lanes for step in lane), strict=True))
        try:
            self._await()
        except BaseException:
            for future in futures:
                future.cancel()
            self._session.stop.set()
            raise

    def _await(self) -> None:
        total, pending = len(self._running), set(self._running)
        while pending:
            description = next(
                step.description for future, step in self._running.items() if future in pending
            )
            self._progress(Progress(total - len(pending), total, description))
            done, pending = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                if problem := future.result():
                    self._problems.append(problem)
        self._progress(Progress(total, total, "done"))


def _endpoints(target: Target) -> int:
    """Count the kinds of requests that a plan supports."""
    bindings = target.bindable + (target.bindable and target.bindings_retrievable)
    return bindings + target.instances_retrievable + target.takes_updates


def _size(document: Node) -> int:
    """Count the offerings and plans of a catalog, even if they are invalid."""
    offerings = document.get("services")
    offerings = offerings if isinstance(offerings, list) else []
    plan_lists = [offering.get("plans") for offering in offerings if isinstance(offering, dict)]
    return len(offerings) + sum(len(plans_) for plans_ in plan_lists if isinstance(plans_, list))


def _join_problems(problems: Sequence[str]) -> str | None:
    """Join the first problems to one text; return None if there are none."""
    more = f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
    return "; ".join(problems[:_MAX_PROBLEMS]) + more or None


def _first_findings(findings: Iterator[Finding]) -> tuple[Finding, ...]:
    return tuple(islice(findings, _MAX_FINDINGS))


def _run_lifecycle(lifecycle: InstanceLifecycle, *, special_id: bool) -> str | None:
    lifecycle.run(special_id=special_id)
    return lifecycle.problem
