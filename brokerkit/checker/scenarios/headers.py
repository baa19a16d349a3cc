"""What is no X-Broker-API-Originating-Identity (R-REQ-3)."""

from __future__ import annotations

from base64 import b64encode

IDENTITY = "X-Broker-API-Originating-Identity"

MALFORMED = {
    "one that is not base64": "cloudfoundry §§§".encode().decode("latin-1"),
    "one that has no value": "cloudfoundry",
    "one that is not JSON": f"cloudfoundry {b64encode(b'ann').decode()}",
    "one that is no object": f"cloudfoundry {b64encode(b'[1]').decode()}",
}
"""By what is wrong with them."""

NOT_BASE64 = {IDENTITY: MALFORMED["one that is not base64"]}
"""The headers of a request that is right otherwise."""
