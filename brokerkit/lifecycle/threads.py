"""Whether threads are still what they were when this package was loaded."""

from __future__ import annotations

import threading
from threading import Lock


def check_threads() -> None:
    """Make sure that nobody replaced them since, as gevent does: half of the package would wait for ever.

    Raises:
        RuntimeError: Somebody did.
    """
    if threading.Lock is not Lock:
        raise RuntimeError(
            "gevent replaced Python's threads after the broker was loaded, which cannot work. With gunicorn's"
            " --preload, let it do so before: begin gunicorn.conf.py with"
            " `from gevent import monkey; monkey.patch_all()`; or leave out --preload"
        )
