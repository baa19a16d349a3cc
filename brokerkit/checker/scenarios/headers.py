"""Malformed values of X-Broker-API-Originating-Identity (R-REQ-3)."""

from __future__ import annotations

from base64 import b64encode

IDENTITY = "X-Broker-API-Originating-Identity"

MALFORMED = {
    "an identity that is not base64": "cloudfoundry §§§".encode().decode("latin-1"),
    "an identity without a value": "cloudfoundry",
    "an identity that is not JSON": f"cloudfoundry {b64encode(b'ann').decode()}",
    "an identity that is not an object": f"cloudfoundry {b64encode(b'[1]').decode()}",
}
"""Malformed values by description."""

NOT_BASE64 = {IDENTITY: MALFORMED["an identity that is not base64"]}
"""The headers of an otherwise valid request with a malformed identity."""
