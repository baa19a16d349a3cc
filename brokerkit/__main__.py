"""``python -m brokerkit``: the `brokerkit` command."""

from __future__ import annotations

from .command.main import main

main()
