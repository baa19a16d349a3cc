"""Serves the broker of samples/postgres with a PostgreSQL of its own until Ctrl-C: `make run`."""

from __future__ import annotations

import shlex
import signal
import sys
import time

from .served import prepared, usual_port

TALK = """
In another terminal, in this folder:

{exports}
  export PATH="$PWD/.venv/bin:$PATH"
  brokerkit catalog
  brokerkit provision postgres small orders
  brokerkit bind orders shop
  brokerkit provision postgres restored reports
  brokerkit check "$BROKER_URL"
  brokerkit deprovision orders --yes
  curl -sH "Authorization: Bearer $METRICS_TOKEN" "$BROKER_URL/metrics"

And what happens in PostgreSQL, as its superuser:

  {psql} {superuser}

Ctrl-C ends it. What is in its databases goes with it. Its log:
"""


def main() -> int:
    """Serve until a signal; 1 if the server ended by itself."""
    for end in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, signal.default_int_handler)
    try:
        print("Starting PostgreSQL and the broker …", flush=True)
        with prepared() as site, site.serving(usual_port()) as server:
            exports = "\n".join(
                f"  export {name}={shlex.quote(value)}" for name, value in site.platform(server.port).items()
            )
            print(f"The broker of samples/postgres serves http://127.0.0.1:{server.port}")
            print(
                TALK.format(
                    exports=exports,
                    psql=shlex.quote(str(site.postgres.programs / "psql")),
                    superuser=shlex.quote(site.postgres.conninfo),
                ),
                flush=True,
            )
            with site.log.open() as log:
                while server.process.poll() is None:
                    print(log.read(), end="", flush=True)
                    time.sleep(0.2)
                print(log.read(), end="", flush=True)
            print("The broker's server ended.", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        print("\nEnded; nothing is left.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
