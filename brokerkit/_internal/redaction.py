"""Masking of secrets in JSON and text from outside, by the names of their fields or the words before them.

It masks more than necessary in case of doubt. Names, ids and sentences that explain a fault stay, such as
``the password is wrong`` or ``invalid token: has expired``.
"""

from __future__ import annotations

import re

import msgspec

from .masked_struct import MASK

# Names

_START, _END = (rf"(?:{edge}|(?-i:(?<=[a-z])(?=[A-Z])))" for edge in ("(?<![a-z])", "(?![a-z])"))
"""The start and the end of a word in a name: ``db_pw``, ``adminPw``."""

_KEYS = (
    "access|account|aes|api|auth|client|decryption|encrypt(?:ion)?|hmac|license|master|private|rsa|secret"
    "|server|session|shared|sign(?:ing)?|ssh|ssl|subscription|tls"
)
_WORDS = (
    r"(?<!by)(?<!com)pass(?!age|ed|eng|es|ing|iv)"
    rf"|secret|token|credential|private|pwd{_END}|dsn|cookie|authorization"
    rf"|(?:{_KEYS})[ _-]?key|conn(?:ection)?[ _-]?str(?:ing)?"
    "|syslog_drain_url|route_service_url|mount_config"
    rf"|{_START}(?:bearer|jwt|pw|sas|sig){_END}"
)
_JSON_ONLY_WORDS = rf"client[_-]?cert|{_START}(?:certs?|certificates?|pem|signature){_END}"
"""Words that are too frequent in sentences to mask what follows them in a text."""

_SECRET = re.compile(f"{_WORDS}|{_JSON_ONLY_WORDS}", re.IGNORECASE)
_NAME = re.compile(r"[\w. /:-]{1,100}")


def is_secret(name: str) -> bool:
    """Whether the value of a field with this name must be masked."""
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
_CONTINUATION = rf"(?:{_SENTENCE})(?=[.,;:!?]*(?:\s|\Z))"
"""A word that continues a sentence, rather than a secret."""

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"(-----BEGIN [a-z ]{0,40}PRIVATE KEY-----).*?(?:-----END [a-z ]{0,40}PRIVATE KEY-----|\Z)",
        # <password>…</password>
        rf"((?:<|&lt;)[\w:.-]{{0,60}}(?:{_WORDS})[\w:.-]{{0,60}}(?:\s[^<>]{{0,200}})?(?:>|&gt;))"
        r"(?:(?!<|&lt;).)+",
        # name="password" value="…"
        rf"(\b(?:name|key){_QUOTE}?\s*[:=]\s*{_QUOTE}[\w. -]{{0,60}}(?:{_WORDS})[\w. -]{{0,60}}{_QUOTE}"
        rf"[\s,]*{_QUOTE}?value{_QUOTE}?\s*[:=]\s*)(?:{_QUOTED}|[^\s,;&<}}\]]+)",
        # password=…, "password": …, Authorization: Bearer …; everything to the end after an opening bracket
        rf"((?:{_WORDS})[\w-]{{0,60}}{_QUOTE}?\s*(?!:\s+{_CONTINUATION})[:=]{{1,2}}+>?\s*+)"
        rf"(?:[\[{{].*|{_QUOTED}|(?:basic|bearer|digest|token)\s+[^\s,;<]+|(?!=)[^\s,;&<}}\]]+)",
        # --password …
        rf"((?<![\w-])--[\w-]{{0,60}}(?:{_WORDS})[\w-]{{0,60}}\s+)(?!-|{_CONTINUATION})(?:{_QUOTED}|[^\s,;<]+)",
        # ALTER ROLE … PASSWORD '…'
        rf"(\b(?:passw(?:or)?d|identified\s+by)\s+)(?=['\"\\]){_QUOTED}",
        r"(\b(?:basic|bearer)\s+)(?=[\w.~+/-]{0,2000}[0-9=])[\w.~+/-]{6,}={0,2}(?![\w=\"])",
        r"()\beyJ[\w-]{5,}\.eyJ[\w-]{5,}\.[\w-]*",  # a JSON Web Token
    )
)
_LOGIN = re.compile(
    r"""(?<=://)(?:[^\s"'/?#]+(?=@)|[^\s"'/@:]*:(?![0-9]{1,5}(?:[/?#"'\s]|$))[^\s"']{0,2000}(?=@))"""
)
"""The login in a URL, even if its password contains an unquoted slash or @."""
_INDICATOR = re.compile(r"""[:=<&'"]|--|eyJ|\b(?:basic|bearer)\s""", re.IGNORECASE)
"""A character or word that every text with a secret contains. It saves the search in most texts."""


def mask_text(text: str) -> str:
    """Replace passwords, tokens and other secrets, and logins in URLs, by :data:`MASK`."""
    if not _INDICATOR.search(text):
        return text
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{MASK}", text)
    return strip_logins(text)


def strip_logins(text: str) -> str:
    """Replace the logins in URLs by :data:`MASK`."""
    return _LOGIN.sub(MASK, text)


def mask_json(value: object, *, hide: bool = False) -> object:
    """Replace every secret in a JSON value, such as the value of `credentials`, by :data:`MASK`.

    Args:
        value: The decoded JSON value.
        hide: Whether the value itself is secret. Defaults to False.
    """
    match value:
        case dict():
            is_pair = not hide and _is_secret_pair(value)
            return {
                name: mask_json(child, hide=hide or is_secret(str(name)) or (is_pair and name in _VALUES))
                for name, child in value.items()
            }
        case list():
            return [mask_json(child, hide=hide) for child in value]
        case None | bool():
            return value
        case str() if not hide:
            return _mask_json_text(value) if value[:1] in ("{", "[") else mask_text(value)
        case _:
            return MASK if hide else value


_NAMES, _VALUES = ("name", "key"), frozenset({"value", "default", "content"})


def _is_secret_pair(value: dict[object, object]) -> bool:
    """Whether an object is a name and a secret value, such as ``{"name": "password", "value": …}``."""
    names = (value.get(field) for field in _NAMES)
    return any(isinstance(name, str) and _NAME.fullmatch(name) and is_secret(name) for name in names)


def _mask_json_text(text: str) -> str:
    """Mask a text that may be JSON. The text is unchanged if it contains no secret."""
    try:
        document = msgspec.json.decode(text)
        masked = mask_json(document)
    except (ValueError, RecursionError):
        return mask_text(text)
    return text if masked == document else msgspec.json.encode(masked).decode()
