"""The check: reads the catalog, sends the journeys off, deletes what they made, and judges what they saw."""

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
from .session import MOST_OF_A_CATALOG, BrokerGone, CheckSession
from .situations import ACCESS_SITUATIONS, Situation
from .targets import Node, ParameterExamples, PlanChange, Target, choose_parameters, plans, schema
from .thread_pool import run_in_threads

_ORPHANS_FOR = 30.0
_CLEAN_UP_FOR = 60.0
_LOOK_EVERY = 0.2
_HALTED = 4
"""Of how many plans of an offering one more instance is ordered, several times at once, and halted."""
_NOT_OF_A_LIFE = (
    ACCESS_SITUATIONS
    | CANCELLATION_SITUATIONS
    | INVALID_REQUEST_SITUATIONS
    | {Situation.CATALOG, Situation.ORPHAN_DELETED}
)
_MOST_ENTRIES = 5_000
_MOST_FINDINGS = 10_000
_MOST_TROUBLES = 5

ProgressCallback = Callable[[Progress], None]


class _Trouble(Exception):
    """The check cannot be done."""


class _Step(NamedTuple):
    """Something to do that takes a while.

    Args:
        doing: What it is, in a few words.
        run: Does it; says why it could not be done, if so.
    """

    doing: str
    run: Callable[[], str | None]


def check(url: str, options: Options | None = None, *, progress: ProgressCallback | None = None) -> Report:
    """Check a service broker against the rules of the API.

    What it makes it deletes, also when it is interrupted (Ctrl-C) or the broker goes away; what it cannot
    delete, the report has.

    Args:
        url: Where the broker's ``/v2`` is.
        options: How to log in, what to check, and how.
        progress: Told how far it is.

    Returns:
        A verdict for each rule. That the broker cannot be reached, or refuses the login, is in its `trouble`.

    Raises:
        ValueError: The URL is none, the login is half told, no rule is called so, or none is left.
    """
    options = options or Options()
    rules = _rules(options)
    login = Login(options.username, options.password, options.token)
    transport = Transport(url, login, timeout=options.timeout, verify=options.verify)
    return _Check(
        CheckSession(transport, _platform(options)), options, rules, progress or (lambda _: None)
    ).run()


def _rules(options: Options) -> Sequence[Rule]:
    """The rules to judge by; a name that none has would make a check that finds nothing wrong."""
    for prefix in (*options.only, *options.skip):
        if not any(key_matches(rule.key, prefix) for rule in RULES):
            raise ValueError(f"there is no rule {prefix!r}; 'brokerkit check --list' lists all of them")
    rules = [rule for rule in RULES if options.wants(rule.key, rule.level)]
    if not rules:
        raise ValueError("no rule is left to judge; see only, skip and level")
    return rules


def _platform(options: Options) -> Platform:
    if options.platform is None:
        return replace(cloudfoundry(), api_version="2.17", headers={})  # its headers are a rule's
    if isinstance(options.platform, Platform):
        return options.platform
    return PLATFORMS[options.platform]()


class _Check:
    """One check, from its first request to its report."""

    def __init__(
        self, session: CheckSession, options: Options, rules: Sequence[Rule], tell: ProgressCallback
    ) -> None:
        self._session = session
        self._options = options
        self._tell = tell
        self._rules = rules
        self._wanted = {each for rule in rules for each in rule.situations}
        self._any_answer = any(not rule.situations for rule in rules)
        self._parameters = parameter_sets(options.parameters)
        self._targets: Sequence[Target] = ()
        self._troubles: list[str] = []
        self._running: dict[Future[str | None], _Step] = {}
        self._chosen: dict[tuple[str, str, str], ParameterExamples] = {}

    def run(self) -> Report:
        """Do it."""
        began, started_at = monotonic(), datetime.now(UTC)
        try:
            self._work()
        except (_Trouble, BrokerGone) as error:
            self._troubles.insert(0, str(error))
        except KeyboardInterrupt:
            self._troubles.insert(0, "interrupted")
        except Exception as error:
            self._clean_up()
            for left in leftovers(self._session):
                error.add_note(f"left behind: {left.curl}")
            raise
        self._clean_up()
        return Report(
            url=self._session.transport.url,
            started_at=started_at,
            seconds=monotonic() - began,
            requests=self._session.sent,
            plans=tuple(target.name for target in self._targets),
            verdicts=tuple(evaluate(self._rules, self._session.seen, self._session.skipped)),
            leftovers=tuple(leftovers(self._session)),
            trouble=_told(self._troubles),
        )

    def _clean_up(self) -> None:
        """Delete what there is, when nothing more is being made; Ctrl-C ends that."""
        self._session.stop.set()
        try:
            self._tell(Progress(1, 1, "waiting for the last answers"))
            wait(self._running)
            clean_up(
                self._session,
                _CLEAN_UP_FOR,
                at_most=max(self._options.operation_timeout, _CLEAN_UP_FOR),
                telling=lambda doing: self._tell(Progress(1, 1, doing)),
            )
        except KeyboardInterrupt:
            self._troubles.append("interrupted again")

    def _work(self) -> None:
        self._tell(Progress(0, 1, "reading the catalog"))
        catalog = self._catalog()
        document = catalog.document or {}
        self._targets = self._choose(document)
        if not self._targets:
            raise _Trouble("the catalog has no plan to order")
        self._run(list(self._lanes(catalog)))

    # The catalog

    def _catalog(self) -> Exchange:
        """Read it, and note what its rules find."""
        request = endpoints.catalog()
        exchange = self._session.send(request, whole=True)
        if exchange.status in (401, 403):
            raise _Trouble(f"the service broker refuses the login: {exchange.response_line}")
        if len(exchange.response_body) >= MOST_OF_A_CATALOG:
            raise _Trouble(f"the catalog has more than {MOST_OF_A_CATALOG:,} bytes; no more are read")
        document = exchange.document or {}
        if (size := _size(document)) > _MOST_ENTRIES:
            raise _Trouble(
                f"the catalog has {size:,} offerings and plans; at most {_MOST_ENTRIES:,} are read"
            )
        faults = _most(find_faults(document, Document, {})) if document else ()
        findings = (*faults, *_most(find_warnings(document)))
        self._session.record(
            Situation.CATALOG,
            "the catalog",
            request,
            exchange,
            findings=findings,
            plans=tuple(plans(document)),
        )
        if not isinstance(document.get("services"), list):
            raise _Trouble(f"there is no catalog at {request.path}: {exchange.answered[:300]}")
        self._session.is_known = exchange.status == 200
        return exchange

    def _choose(self, document: Node) -> Sequence[Target]:
        """The plans to work through."""
        found = list(plans(document))
        known = [(str(of.get("name")), of["id"], str(plan.get("name")), plan["id"]) for of, plan in found]
        if strange := unused_keys(self._parameters, known):
            raise _Trouble(f"there are parameters for {', '.join(strange)}, which the catalog does not have")
        wanted = self._options.plans
        if absent := [each for each in wanted if not any(each in keys(*names) for names in known)]:
            raise _Trouble(f"the catalog has no plan or offering {', '.join(absent)}")
        return tuple(
            self._target(offering, plan, found)
            for (offering, plan), names in zip(found, known, strict=True)
            if not wanted or any(each in keys(*names) for each in wanted)
        )

    def _target(self, offering: Node, plan: Node, found: Sequence[tuple[Node, Node]]) -> Target:
        others = [each for of, each in found if of["id"] == offering["id"] and each["id"] != plan["id"]]
        return Target(
            offering=offering,
            plan=plan,
            others=others,
            other_offering_plans=[each for of, each in found if of["id"] != offering["id"]],
            move=next(
                (
                    PlanChange(each["id"], create.minimal)
                    for each in others
                    if (create := self._create(offering, each)).is_known
                ),
                None,
            ),
            create=self._create(offering, plan),
            change=self._given(offering, plan, "update", "service_instance", "update"),
            bind=self._given(offering, plan, "bind", "service_binding", "create"),
        )

    def _create(self, offering: Node, plan: Node) -> ParameterExamples:
        return self._given(offering, plan, "provision", "service_instance", "create")

    def _given(self, offering: Node, plan: Node, action: str, resource: str, of: str) -> ParameterExamples:
        """Parameters for an action; chosen once, since each plan of an offering asks for its neighbours'."""
        key = (offering["id"], plan["id"], action)
        if key not in self._chosen:
            names = (str(offering.get("name")), offering["id"], str(plan.get("name")), plan["id"])
            own = find_value(self._parameters, *names, action)
            self._chosen[key] = choose_parameters(schema(plan, resource, of), own)
        return self._chosen[key]

    # The journeys

    def _lanes(self, catalog: Exchange) -> Iterator[Sequence[_Step]]:
        """What there is to do for the rules that are judged, in a lane for each offering.

        A broker may have room for one instance of a plan, or of an offering, and instances move from plan to
        plan; so there are never two. An orphan, of which something may be left, comes last.
        """
        offerings: dict[str, list[Target]] = {}
        for target in self._targets:
            offerings.setdefault(target.service_id, []).append(target)
        for targets in offerings.values():
            yield [_Step(target.name, run) for target, run in self._runs(targets)]
        if self._any_answer or self._wanted & ACCESS_SITUATIONS:
            door = Access(self._session, max(self._targets, key=_endpoints), self._options.operation_timeout)
            yield [_Step("versions and logins", partial(door.run, catalog))]

    def _runs(self, targets: Sequence[Target]) -> Iterator[tuple[Target, Callable[[], str | None]]]:
        """The journeys with the plans of an offering."""
        session, limit = self._session, self._options.operation_timeout
        for number, target in enumerate(targets):
            is_first = number == 0
            if self._any_answer or self._wanted - _NOT_OF_A_LIFE:
                special_id = is_first and not self._wanted.isdisjoint(SPECIAL_ID_SITUATIONS)
                yield target, partial(_live, InstanceLifecycle(session, target, limit), special_id=special_id)
            if self._wanted & CANCELLATION_SITUATIONS and number < _HALTED:
                yield target, Cancellation(session, target, limit).run
            if self._any_answer or self._wanted & INVALID_REQUEST_SITUATIONS:
                yield target, partial(InvalidRequests(session, target, limit).run, all_of_it=is_first)
        if Situation.ORPHAN_DELETED in self._wanted:
            yield targets[0], partial(OrphanMitigation(session, targets[0], limit).run, _ORPHANS_FOR)

    def _run(self, lanes: Sequence[Sequence[_Step]]) -> None:
        """Do all of it, some of the lanes at a time."""
        futures = run_in_threads([[step.run for step in lane] for lane in lanes], self._options.jobs)
        self._running = dict(zip(futures, (step for lane in lanes for step in lane), strict=True))
        try:
            self._await()
        except BaseException:
            for each in futures:
                each.cancel()
            self._session.stop.set()
            raise

    def _await(self) -> None:
        total, pending = len(self._running), set(self._running)
        while pending:
            doing = next(step.doing for each, step in self._running.items() if each in pending)
            self._tell(Progress(total - len(pending), total, doing))
            done, pending = wait(pending, _LOOK_EVERY, FIRST_COMPLETED)
            for each in done:
                if trouble := each.result():
                    self._troubles.append(trouble)
        self._tell(Progress(total, total, "done"))


def _endpoints(target: Target) -> int:
    """How many kinds of requests a plan is for."""
    bindings = target.bindable + (target.bindable and target.bindings_retrievable)
    return bindings + target.instances_retrievable + target.takes_updates


def _size(document: Node) -> int:
    """How many offerings and plans a catalog has, whatever they are."""
    offerings = document.get("services")
    offerings = offerings if isinstance(offerings, list) else []
    plans_of = [each.get("plans") for each in offerings if isinstance(each, dict)]
    return len(offerings) + sum(len(each) for each in plans_of if isinstance(each, list))


def _told(troubles: Sequence[str]) -> str | None:
    """Some of them, if there are any; with a hundred plans there may be a hundred."""
    more = f"; and {len(troubles) - _MOST_TROUBLES} more" if len(troubles) > _MOST_TROUBLES else ""
    return "; ".join(troubles[:_MOST_TROUBLES]) + more or None


def _most(findings: Iterator[Finding]) -> tuple[Finding, ...]:
    return tuple(islice(findings, _MOST_FINDINGS))


def _live(life: InstanceLifecycle, *, special_id: bool) -> str | None:
    life.run(special_id=special_id)
    return life.trouble
