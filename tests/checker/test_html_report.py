"""The HTML report: self-contained, accessible, and safe for hostile text."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from brokerkit.checker.report import Level, Report
from brokerkit.checker.reporters.html import html

from . import sample_reports as samples

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """A parser of the page that fails unless it is well-formed."""

    def __init__(self, report: Report) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.source = html(report)
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style" and data.strip():
            self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.words)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.mark.parametrize("name", samples.ALL)
def test_html_report_is_valid_and_self_contained(name: str) -> None:
    """The page loads nothing and has no scripts, event handlers or external links."""
    page = Page(samples.ALL[name])
    assert page.source.startswith("<!DOCTYPE html>\n")
    assert not {"script", "img", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("src", "style", "action") for name in attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert not re.search(r"@import|url\(", page.source)
    assert all(character == "\n" or character.isprintable() for character in page.source)


@pytest.mark.parametrize("name", samples.ALL)
def test_html_report_is_accessible(name: str) -> None:
    """Headings, table captions, header scopes and link targets are usable with a screen reader."""
    page = Page(samples.ALL[name])
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert {cell.get("scope") for cell in page.all("th")} <= {"col", "row"}
    assert len(page.all("caption")) == len(page.all("table"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    targets = {str(link["href"]).removeprefix("#") for link in page.all("a")}
    targets |= {str(section["aria-labelledby"]) for section in page.all("section")}
    assert targets <= set(ids)


def test_html_report_orders_summary_failures_rules() -> None:
    text = Page(samples.FAULTY).text
    order = [
        "Check of http://127.0.0.1:8080",
        "This broker breaks 1 MUST rule.",
        "2 passed 1 failed, MUST 1 failed, SHOULD 0 failed, INTEROP 1 skipped",
        "2026-11-24 03:00:00 UTC",
        "hello-db/small, hello-db/large",
        "214 requests in 5.2 s",
        "Failed",
        "R-PROV-4.same MUST A repeated PUT",
        "R-REQ-4.echoed SHOULD",
        "All rules",
        "Every request",
        "skipped R-GETI-1.found MUST An instance can be fetched. (no offering is instances_retrievable)",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_html_failure_is_expanded_with_exchange_details() -> None:
    """A failure is expanded and shows both exchanges, the headers and the curl command."""
    page = Page(samples.FAULTY)
    failures = [box for box in page.all("details") if "box" in (box.get("class") or "")]
    assert [(box.get("class"), "open" in box) for box in failures] == [("box", True), ("box mild", True)]
    first = page.text[page.text.index("hello-db/large:") :]
    assert first.startswith(
        "hello-db/large: returned a different operation than before before PUT /v2/service_instances/i1"
    )
    for word in ('202 {"operation":"one"}', '202 {"operation":"two"}', "content-type: application/json"):
        assert word in first
    assert samples.make_exchange().curl in first


def test_html_report_folds_more_than_three_failures() -> None:
    page = Page(samples.FAULTY)
    assert "and 2 more" in page.words
    assert page.text.count("hello-db/large: returned a different operation") == 6
    assert "more" not in Page(samples.make_report(samples.failed(failures=3))).words


def test_html_omits_headers_without_a_response() -> None:
    exchange = samples.make_exchange(status=None, failure="the connection was closed", response_headers={})
    text = Page(samples.make_report(samples.failed(exchange=exchange))).text
    assert "no response: the connection was closed" in text
    assert "response headers" not in text


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (samples.CORRECT, "This broker keeps every evaluated rule."),
        (
            samples.make_report(samples.failed(level=Level.SHOULD)),
            "This broker keeps all MUST rules and breaks 1 other rule.",
        ),
        (samples.make_report(), "No rule was evaluated."),
        (samples.INTERRUPTED, "The check could not determine whether this broker keeps the rules."),
        (samples.INTERRUPTED, "The check did not finish: interrupted."),
        (
            samples.UNREACHABLE,
            "The check could not start: the service broker cannot be reached: no connection.",
        ),
        (samples.LEFT, "service instance i1: 500 {} delete it with curl -X DELETE i1"),
    ],
)
def test_html_report_states_the_conclusion(report: Report, words: str) -> None:
    """The page states the result in a sentence for every outcome, including aborted checks and leftovers."""
    assert words in Page(report).text


def test_html_escapes_hostile_broker_text() -> None:
    """Broker text is escaped, shortened and free of secrets."""
    page = Page(samples.NASTY)
    assert r"\x1b[31;1m<script>alert(1)</script>]]>&amp;\x00\x07\x9b2J\u202e\ud800 [bold]" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "<script" not in page.source
    assert samples.PASSWORD not in page.source
    assert samples.SECRETS[0] not in page.source
    assert "not-to-be-seen" not in page.source
    assert len(page.source) < 100_000


def luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_html_colours_have_sufficient_contrast() -> None:
    """Text colours have a contrast of at least 4.5 in the light and the dark theme."""
    source = html(samples.CORRECT)
    schemes = [
        dict(re.findall(r"--(\w+): (#\w{6})", block))
        for block in re.findall(r":root \{(.*?)\}", source, re.S)
    ]
    light, dark = (scheme for scheme in schemes if "page" in scheme)
    assert luminance(light["page"]) > luminance(dark["page"])
    for scheme in (light, dark):
        for name in ("text", "dim", "good", "bad", "mild"):
            for ground in ("page", "box"):
                brighter, darker = sorted((luminance(scheme[name]), luminance(scheme[ground])), reverse=True)
                assert (brighter + 0.05) / (darker + 0.05) >= 4.5, (name, ground)
