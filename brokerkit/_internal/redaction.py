"""What is secret in what others wrote: by where it stands in JSON, or by what stands before it in a text.

It masks generously, but what people read to understand a fault stays: names, ids, and sentences, such as
``the password is wrong`` or ``invalid token: has expired``.
"""

from __future__ import annotations

import re

import msgspec

from .masking import MASK

# Names

_BEGINS, _ENDS = (rf"(?:{beside}|(?-i:(?<=[a-z])(?=[A-Z])))" for beside in ("(?<![a-z])", "(?![a-z])"))
"""Where a word begins and ends in a name: ``db_pw``, ``adminPw``."""

_KEYS = (
    "access|account|aes|api|auth|client|decryption|encrypt(?:ion)?|hmac|license|master|private|rsa|secret"
    "|server|session|shared|sign(?:ing)?|ssh|ssl|subscription|tls"
)
_WORDS = (
    r"(?<!by)(?<!com)pass(?!age|ed|eng|es|ing|iv)"
    rf"|secret|token|credential|private|pwd{_ENDS}|dsn|cookie|authorization"
    rf"|(?:{_KEYS})[ _-]?key|conn(?:ection)?[ _-]?str(?:ing)?"
    "|syslog_drain_url|route_service_url|mount_config"
    rf"|{_BEGINS}(?:bearer|jwt|pw|sas|sig){_ENDS}"
)
_IN_JSON = rf"client[_-]?cert|{_BEGINS}(?:certs?|certificates?|pem|signature){_ENDS}"
"""What is said of in sentences too often."""

_SECRET = re.compile(f"{_WORDS}|{_IN_JSON}", re.IGNORECASE)
_NAME = re.compile(r"[\w. /:-]{1,100}")


def is_secret(name: str) -> bool:
    """Is what has this name to be masked?"""
    return _SECRET.search(name) is not None


# Values

_QUOTE = r"""(?:\\*["'`]|&(?:quot|apos|\#x?[0-9a-f]{1,4});)"""
_QUOTED = (
    r"""(?:"(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|(?P<mark>\\+["']|&(?:quot|apos|\#x?[0-9a-f]{1,4});)"""
    r""".*?(?:(?P=mark)|\Z))"""
)
_SENTENCE = (
    "a|all|an|and|are|at|bad|been|by|cannot|can't|changed|could|denied|does|empty|error|expected|expired|failed"
    "|for|from|given|got|has|have|if|in|incorrect|invalid|is|isn't|it|its|malformed|may|mismatch|missing|must"
    "|needs|no|none|not|null|of|on|only|or|please|rejected|required|requires|revoked|should|signature|that|the"
    "|there|this|to|too|try|unable|unauthorized|unexpected|unknown|unset|use|user|was|were|will|with|without"
    "|wrong|you|your"
)
_GOES_ON = rf"(?:{_SENTENCE})(?=[.,;:!?]*(?:\s|\Z))"
"""A word with which a sentence goes on, rather than a secret."""

_PLACES = tuple(
    re.compile(each, re.IGNORECASE | re.DOTALL)
    for each in (
        r"(-----BEGIN [a-z ]{0,40}PRIVATE KEY-----).*?(?:-----END [a-z ]{0,40}PRIVATE KEY-----|\Z)",
        # <password>…</password>
        rf"((?:<|&lt;)[\w:.-]{{0,60}}(?:{_WORDS})[\w:.-]{{0,60}}(?:\s[^<>]{{0,200}})?(?:>|&gt;))"
        r"(?:(?!<|&lt;).)+",
        # name="password" value="…"
        rf"(\b(?:name|key){_QUOTE}?\s*[:=]\s*{_QUOTE}[\w. -]{{0,60}}(?:{_WORDS})[\w. -]{{0,60}}{_QUOTE}"
        rf"[\s,]*{_QUOTE}?value{_QUOTE}?\s*[:=]\s*)(?:{_QUOTED}|[^\s,;&<}}\]]+)",
        # password=…, "password": …, Authorization: Bearer …; all to the end if that opens a bracket
        rf"((?:{_WORDS})[\w-]{{0,60}}{_QUOTE}?\s*(?!:\s+{_GOES_ON})[:=]{{1,2}}+>?\s*+)"
        rf"(?:[\[{{].*|{_QUOTED}|(?:basic|bearer|digest|token)\s+[^\s,;<]+|(?!=)[^\s,;&<}}\]]+)",
        # --password …
        rf"((?<![\w-])--[\w-]{{0,60}}(?:{_WORDS})[\w-]{{0,60}}\s+)(?!-|{_GOES_ON})(?:{_QUOTED}|[^\s,;<]+)",
        # ALTER ROLE … PASSWORD '…'
        rf"(\b(?:passw(?:or)?d|identified\s+by)\s+)(?=['\"\\]){_QUOTED}",
        r"(\b(?:basic|bearer)\s+)(?=[\w.~+/-]{0,2000}[0-9=])[\w.~+/-]{6,}={0,2}(?![\w=\"])",
        r"()\beyJ[\w-]{5,}\.eyJ[\w-]{5,}\.[\w-]*",  # a JSON Web Token
    )
)
_LOGIN = re.compile(
    r"""(?<=://)(?:[^\s"'/?#]+(?=@)|[^\s"'/@:]*:(?![0-9]{1,5}(?:[/?#"'\s]|$))[^\s"']{0,2000}(?=@))"""
)
"""The login in a URL, also where its password was not quoted and has a slash or an @ in it."""
_MARKS = re.compile(r"""[:=<&'"]|--|eyJ|\b(?:basic|bearer)\s""", re.IGNORECASE)
"""What there is in a text where there may be a secret."""


def mask_text(text: str) -> str:
    """A text with :data:`MASK` for what is called a password, a token …; and for logins in URLs."""
    if not _MARKS.search(text):
        return text
    for place in _PLACES:
        text = place.sub(rf"\1{MASK}", text)
    return strip_logins(text)


def strip_logins(text: str) -> str:
    """A text with :data:`MASK` for the logins in its URLs."""
    return _LOGIN.sub(MASK, text)


def mask_json(value: object, *, hide: bool = False) -> object:
    """A JSON value with :data:`MASK` for all that its place says is secret, such as in `credentials`.

    Args:
        value: What was decoded.
        hide: Is it secret itself?
    """
    match value:
        case dict():
            listed = not hide and _lists_a_secret(value)
            return {
                name: mask_json(inner, hide=hide or is_secret(str(name)) or (listed and name in _VALUES))
                for name, inner in value.items()
            }
        case list():
            return [mask_json(inner, hide=hide) for inner in value]
        case None | bool():
            return value
        case str() if not hide:
            return _masked_json(value) if value[:1] in ("{", "[") else mask_text(value)
        case _:
            return MASK if hide else value


_NAMES, _VALUES = ("name", "key"), frozenset({"value", "default", "content"})


def _lists_a_secret(value: dict[object, object]) -> bool:
    """Is it such as ``{"name": "password", "value": …}``?"""
    names = (value.get(each) for each in _NAMES)
    return any(isinstance(name, str) and _NAME.fullmatch(name) and is_secret(name) for name in names)


def _masked_json(text: str) -> str:
    """A text that may be JSON itself; as it was, if nothing in it is secret."""
    try:
        found = msgspec.json.decode(text)
        shown = mask_json(found)
    except (ValueError, RecursionError):
        return mask_text(text)
    return text if shown == found else msgspec.json.encode(shown).decode()
