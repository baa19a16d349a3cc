"""``python -m brokerkit``: the `brokerkit` command."""

from __future__ import annotations

from .cli.main import main

main()
