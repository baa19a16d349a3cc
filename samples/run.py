"""Serve the broker of samples/postgres with a temporary PostgreSQL until Ctrl-C: `make run`."""

from __future__ import annotations

import shlex
import signal
import sys
import time

from .served import preferred_port, prepared_site

INSTRUCTIONS = """
To try it, open another terminal in this folder and run:

{exports}
  export PATH="$PWD/.venv/bin:$PATH"
  brokerkit catalog
  brokerkit provision postgres small orders
  brokerkit bind orders shop
  brokerkit provision postgres restored reports
  brokerkit check "$BROKER_URL"
  brokerkit deprovision orders --yes
  curl -sH "Authorization: Bearer $METRICS_TOKEN" "$BROKER_URL/metrics"

To inspect PostgreSQL as its superuser, run:

  {psql} {superuser}

Press Ctrl-C to stop. This also deletes the databases. Log of the broker:
"""


def main() -> int:
    """Serve until a signal arrives. Return 1 if the server stops on its own."""
    for terminating in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(terminating, signal.default_int_handler)
    try:
        print("Starting PostgreSQL and the broker …", flush=True)
        with prepared_site() as site, site.serve(preferred_port()) as server:
            exports = "\n".join(
                f"  export {name}={shlex.quote(value)}"
                for name, value in site.client_environment(server.port).items()
            )
            print(f"The broker of samples/postgres is running at http://127.0.0.1:{server.port}")
            print(
                INSTRUCTIONS.format(
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
            print("The broker's server stopped unexpectedly.", file=sys.stderr)
            return 1
    except KeyboardInterrupt:
        print("\nStopped. All processes and files were removed.")
        return 0


if __name__ == "__main__":
    sys.exit(main())
