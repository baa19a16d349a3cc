"""A deterministic simulation of the lifecycle: the real code, with controlled threads, time and faults.

Several brokers act as processes over one database in memory. Requests, attempts, heartbeats and schedulers
are actors, of which one runs at a time. A schedule lists requests and deviations: delays and faults at points
of actors. The same schedule always leads to the same run. Nothing is patched: the brokers get a clock, an
executor and a store with a committer of the simulation.

The modules, from the inside out: `schedule` (what a run does), `actors` (the baton and virtual time),
`clock`, `world` (what handlers made), `handlers`, `processes`, `faults`, `invariants`, `platform`, `run`. On
top of them are `generate`, `shrink`, `explore` and `exhaustive`.
"""
