"""What the check had to make up may displease a broker that is right."""

from __future__ import annotations

from ..rule import Seen


def displeases(seen: Seen) -> bool:
    """Was it refused for what `facts` say was made up?"""
    return bool(seen.facts["made_up"]) and seen.status == 400
