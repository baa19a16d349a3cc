"""Databases and their users in PostgreSQL, made, changed and dropped. Of brokers it knows nothing.

Of a database `db` are:

- the database, which belongs to the broker's own role, so that no user can lift its limits or let others in;
- the role `db_owner`, which cannot log in, and owns all that users make in it;
- a role that can log in for each user. It is a member of `db_owner` and acts as it from the start of each
  session, so all users share what any of them made.

Each method leaves the same behind, however often it was interrupted before, and wherever: what PostgreSQL can
do in a transaction is done in one, and what is there is looked at first. All names and values are quoted by
psycopg.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import psycopg
from psycopg import errors
from psycopg.sql import SQL, Composed, Identifier, Literal

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

EXTENSIONS = frozenset({"citext", "hstore", "pg_trgm"})
"""Those that users may choose; all are `trusted`, so PostgreSQL lets a database's owner have them."""

SESSION = (
    # Users can put functions and operators into the schemas of their databases; ours are not looked up there.
    "-c search_path=pg_catalog"
    # A user who holds a lock does not hold up the broker; what is set for a database is for its users.
    " -c lock_timeout=10s -c statement_timeout=0"
    # A broker that is no superuser may act as the roles that it makes.
    " -c createrole_self_grant=set,inherit"
)
PATIENCE = 3000
"""For how many milliseconds a session may end before it is told again."""

TRIES = 5
"""How often a role is dropped that others hold on to."""

INTERRUPTED_DROP = -2
"""What PostgreSQL notes as the connection limit of a database whose DROP did not get to its end."""


@dataclass(frozen=True)
class Limits:
    """What a database is held to.

    Args:
        connections: How many may be open at a time.
        statement_timeout: After what time a statement is ended, unless its session says otherwise.
        databases: How many of them one holder may have.
    """

    connections: int
    statement_timeout: str
    databases: int


class QuotaReached(Exception):
    """The holder has as many databases as it may have."""


class ExtensionRefused(Exception):
    """An extension cannot be added or dropped because of what is in the database."""


class Databases:
    """The databases of one server.

    Args:
        url: How to log in, as a role with CREATEDB and CREATEROLE; it need not be a superuser.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def create(
        self, name: str, limits: Limits, *, holder: str, extensions: Sequence[str] | None = None
    ) -> None:
        """Make an empty database and its owner.

        Args:
            name: Of the database, at most 57 bytes.
            limits: What it is held to.
            holder: Whose it is, for the quota. Everyone on the server can read it.
            extensions: What to install.

        Raises:
            QuotaReached: The holder has enough of them.
            ExtensionRefused: An extension does not go with what is there.
        """
        with self._session(name) as session:
            _reserve(session, name, limits, holder)
            if not _is_there(session, name):
                session.execute(_creation(name, "template0"))
            _open(session, name, limits)
        self._furnish(name, extensions)

    def copy(
        self,
        template: str,
        name: str,
        limits: Limits,
        *,
        holder: str,
        extensions: Sequence[str] | None = None,
    ) -> Generator[str, None, None]:
        """Make a database with all that is in a template, as :meth:`create` does; says how far it is.

        What belongs to the owner of the template's schema `public` belongs to `name`'s owner in the copy.
        Nobody may be connected to the template meanwhile. Closing the generator ends the copying.
        """
        with self._session(name) as session:
            yield "Making its owner"
            _reserve(session, name, limits, holder)
            if not _is_there(session, name):
                size = _size(session, template)
                for seconds in _meanwhile(session, _creation(name, template)):
                    yield f"Copying {size}" + (f" for {seconds} s" if seconds else "")
            yield "Closing it to others"
            _open(session, name, limits)
        yield "Handing it to its owner"
        self._furnish(name, extensions)

    def change(
        self, name: str, limits: Limits, *, holder: str, extensions: Sequence[str] | None = None
    ) -> None:
        """Hold a database to other limits, and give it just these extensions, or (None) leave those it has.

        Sessions that are open keep the statement timeout that they began with.

        Raises:
            QuotaReached: As :meth:`create`. Nothing is changed then.
            ExtensionRefused: As :meth:`create`. Nothing is changed then.
        """
        with self._session(name) as session, session.transaction():
            _reserve(session, name, limits, holder)
            _limit(session, name, limits)
            if extensions is not None:
                # Inside the transaction, so that what is refused there is not half done here.
                self._furnish(name, extensions)

    def drop(self, name: str) -> None:
        """Drop a database with all its roles, whoever is connected to it, and whatever there is of it."""
        with self._session(name) as session:
            session.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
            found = session.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [f"{name}_"]
            )
            for (role,) in found.fetchall():
                _end_sessions(session, SQL("usename = {}").format(Literal(role)))
                self._drop_role(session, role, name)

    def add_user(self, name: str, user: str) -> str:
        """Let a user log in to a database, and give it a new password.

        Returns:
            The password. The server gets, keeps and logs only a verifier of it.
        """
        password = secrets.token_urlsafe(32)
        with self._session(user) as session, session.transaction():
            scram = session.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
            values = {
                "user": Identifier(user),
                "owner": Identifier(_owner_of(name)),
                "verifier": Literal(scram.decode()),
            }
            if not _has_role(session, user):
                session.execute(SQL("CREATE ROLE {user} IN ROLE {owner}").format(**values))
                session.execute(SQL("ALTER ROLE {user} SET role TO {owner}").format(**values))
            session.execute(SQL("ALTER ROLE {user} LOGIN PASSWORD {verifier}").format(**values))
        return password

    def remove_user(self, name: str, user: str) -> None:
        """End a user's sessions, give what it owns to the database's owner, and drop it."""
        with self._session(user) as session:
            if not _has_role(session, user):
                return
            values = {"user": Identifier(user), "owner": Identifier(_owner_of(name))}
            session.execute(SQL("ALTER ROLE {user} NOLOGIN").format(**values))
            _end_sessions(session, SQL("usename = {}").format(Literal(user)))
            if _is_entangled(session, user):
                with self._connection(user, name) as inside, inside.transaction():
                    inside.execute(SQL("REASSIGN OWNED BY {user} TO {owner}").format(**values))
                    inside.execute(SQL("DROP OWNED BY {user}").format(**values))  # what it was granted
            self._drop_role(session, user, name)

    def _drop_role(self, session: Connection, role: str, name: str) -> None:
        """Drop a role of `name`'s, also if users of other databases granted it something there.

        Any user can read the names of all roles, and say them in a GRANT or a policy.
        """
        for _ in range(TRIES):
            try:
                session.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(role)))
                return
            except errors.LockNotAvailable:  # somebody does that just now, and takes their time
                _end_sessions(session, _holding(role))
            except errors.DependentObjectsStillExist:
                for database in _granted_in(session, role, name):
                    # Who did it may have taken all of the database's connections, too.
                    _end_sessions(session, SQL("datname = {}").format(Literal(database)))
                    with self._connection(role, database) as inside:
                        inside.execute(SQL("DROP OWNED BY {}").format(Identifier(role)))
        raise psycopg.OperationalError(f"the role {role} cannot be dropped; see pg_shdepend and pg_locks")

    def _furnish(self, name: str, extensions: Sequence[str] | None) -> None:
        with self._connection(name, name) as inside, inside.transaction():
            _hand_over(inside, _owner_of(name))
            if extensions is not None:
                _set_extensions(inside, _owner_of(name), frozenset(extensions))

    @contextmanager
    def _session(self, work: str) -> Iterator[Connection]:
        """A connection that says what it works on, after those that did so before are ended.

        Only one at a time works on a database or user. So a session that is left belongs to a process that
        died, or is taken to be dead; PostgreSQL does not notice that while it copies a database.
        """
        with self._connection(work) as connection:
            mine = SQL(
                "usename = current_user AND pid <> pg_backend_pid() AND starts_with(application_name, {})"
            )
            _end_sessions(connection, mine.format(Literal(work)))
            yield connection

    def _connection(self, work: str, database: str | None = None) -> Connection:
        return psycopg.connect(
            self._url,
            autocommit=True,
            connect_timeout=10,
            options=SESSION,
            application_name=work,
            dbname=database,
        )


def _owner_of(name: str) -> str:
    return f"{name}_owner"


def _creation(name: str, template: str) -> Composed:
    """PostgreSQL copies a database wholly or not at all; nobody may enter it before `_open`."""
    statement = SQL("CREATE DATABASE {} TEMPLATE {} ALLOW_CONNECTIONS false")
    return statement.format(Identifier(name), Identifier(template))


def _is_there(session: Connection, name: str) -> bool:
    row = session.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [name]).fetchone()
    if row is not None and row[0] == INTERRUPTED_DROP:
        session.execute(SQL("DROP DATABASE {}").format(Identifier(name)))
        return False
    return row is not None


def _has_role(session: Connection, role: str) -> bool:
    return session.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _is_entangled(session: Connection, role: str) -> bool:
    """Whether it made or was granted something as itself, which takes a `SET ROLE NONE`."""
    found = session.execute(
        "SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid ="
        " (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [role],
    )
    return found.fetchone() is not None


def _granted_in(session: Connection, role: str, name: str) -> list[str]:
    """Other databases in which a role was granted something; it can own nothing there."""
    found = session.execute(
        "SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid"
        " WHERE refclassid = 'pg_authid'::regclass AND datname <> %s AND refobjid ="
        " (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [name, role],
    )
    return [str(database) for (database,) in found]


def _holding(role: str) -> Composed:
    """Sessions that keep a role from being dropped."""
    return SQL(
        "pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_locks WHERE classid = 'pg_authid'::regclass"
        " AND objid = (SELECT oid FROM pg_roles WHERE rolname = {}))"
    ).format(Literal(role))


def _reserve(session: Connection, name: str, limits: Limits, holder: str) -> None:
    """Make the owner, whose comment says who holds it: what is counted for the quota."""
    owner = Identifier(_owner_of(name))
    with session.transaction():
        # Two who count at the same time would both find room.
        session.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [holder])
        found = session.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [_owner_of(name)]
        ).fetchone()
        if found == (holder,):
            return
        counted = session.execute(
            "SELECT count(*) FROM pg_shdescription"
            " WHERE classoid = 'pg_authid'::regclass AND description = %s",
            [holder],
        ).fetchone()
        if counted is not None and counted[0] >= limits.databases:
            raise QuotaReached(f"{holder} has {counted[0]} databases already")
        if found is None:
            session.execute(SQL("CREATE ROLE {} NOLOGIN").format(owner))
        session.execute(SQL("COMMENT ON ROLE {} IS {}").format(owner, Literal(holder)))


def _open(session: Connection, name: str, limits: Limits) -> None:
    """Let in its users, and nobody else."""
    values = {"name": Identifier(name), "owner": Identifier(_owner_of(name))}
    with session.transaction():
        session.execute(SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**values))
        session.execute(
            SQL("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO {owner}").format(**values)
        )
        _limit(session, name, limits)
        session.execute(SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS true").format(**values))


def _limit(session: Connection, name: str, limits: Limits) -> None:
    values = {
        "name": Identifier(name),
        "connections": Literal(limits.connections),
        "timeout": Literal(limits.statement_timeout),
    }
    session.execute(SQL("ALTER DATABASE {name} CONNECTION LIMIT {connections}").format(**values))
    session.execute(SQL("ALTER DATABASE {name} SET statement_timeout TO {timeout}").format(**values))


def _hand_over(inside: Connection, owner: str) -> None:
    """Make all that the template's owner has in this database the owner's."""
    row = inside.execute(
        "SELECT pg_get_userbyid(nspowner), nspowner FROM pg_namespace WHERE nspname = 'public'"
    ).fetchone()
    if row is None or row[0] == owner:  # done before; or its users dropped the schema
        return
    before, oid = row
    if before == "pg_database_owner":  # nobody's in particular, as in an empty database
        inside.execute(SQL("ALTER SCHEMA public OWNER TO {}").format(Identifier(owner)))
        return
    owns_more = inside.execute(
        "SELECT FROM pg_shdepend WHERE dbid = 0 AND deptype = 'o'"
        " AND refclassid = 'pg_authid'::regclass AND refobjid = %s",
        [oid],
    )
    if owns_more.fetchone() is not None:  # REASSIGN OWNED would give away databases too
        raise ValueError(
            f"the role {before!r}, which owns the template's schema public, owns a database or tablespace;"
            " give the template's schemas and tables to a role of their own"
        )
    inside.execute(SQL("REASSIGN OWNED BY {} TO {}").format(Identifier(before), Identifier(owner)))


def _set_extensions(inside: Connection, owner: str, wanted: frozenset[str]) -> None:
    there = {name for (name,) in inside.execute("SELECT extname FROM pg_extension")}
    try:
        for extension in sorted((there & EXTENSIONS) - wanted):
            inside.execute(SQL("DROP EXTENSION {}").format(Identifier(extension)))
        # With no more rights than users have, who may have prepared the schema for it.
        inside.execute(SQL("SET LOCAL ROLE {}").format(Identifier(owner)))
        for extension in sorted((wanted & EXTENSIONS) - there):
            inside.execute(SQL("CREATE EXTENSION {} SCHEMA public").format(Identifier(extension)))
    except (
        errors.DependentObjectsStillExist,
        errors.DuplicateObject,
        errors.DuplicateFunction,
        errors.InvalidSchemaName,
    ) as error:
        raise ExtensionRefused(f"{extension}: {error.diag.message_primary}") from error


def _size(session: Connection, template: str) -> str:
    row = session.execute("SELECT pg_size_pretty(pg_database_size(%s::name))", [template]).fetchone()
    assert row is not None
    return str(row[0])


def _meanwhile(session: Connection, statement: Composed) -> Iterator[int]:
    """Execute a statement, and count the seconds that it takes; closing this ends it."""
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(lambda: session.execute(statement))
        try:
            seconds = 0
            while not working.done():
                yield seconds
                wait([working], timeout=1)
                seconds += 1
        finally:
            if not working.done():
                session.cancel_safe()
    working.result()


def _end_sessions(session: Connection, which: Composed) -> None:
    statement = SQL("SELECT pg_terminate_backend(pid, {}) FROM pg_stat_activity WHERE {}")
    for _ in range(3):
        if not session.execute(statement.format(Literal(PATIENCE), which)).fetchall():
            return
    raise psycopg.OperationalError("a session does not end; see pg_stat_activity")
