"""Are the parameters that a broker tells those that it was given?"""

from __future__ import annotations

from ..rule import Seen


def differs(seen: Seen) -> str | None:
    """What is wrong with the `parameters` that were fetched; `facts` have those that were sent."""
    told = seen.document.get("parameters")
    sent = seen.facts.get("parameters")
    if not isinstance(told, dict) or not told or not sent:
        return None
    wrong = sorted(name for name in sent if name in told and told[name] != sent[name])
    return f"told other values than it was given for the parameters {', '.join(wrong)}" if wrong else None
