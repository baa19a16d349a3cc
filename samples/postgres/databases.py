"""Databases in PostgreSQL and their users. This module does not depend on brokerkit.

A database `db` consists of:

- the database. It belongs to the broker's role, so no user can change its limits or grant access to it;
- the role `db_owner`, which cannot log in and owns all objects that users create in the database;
- one login role per user. It is a member of `db_owner` and acts as that role from the start of each session,
  so all users share their objects.

Every method is idempotent and can be repeated after an interruption at any statement. It checks the current
state first and uses transactions where PostgreSQL supports them. psycopg quotes all names and values.
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
"""Extensions that users may choose. All are `trusted`, so a database's owner can install them."""

SESSION = (
    # Users can create functions and operators in their schemas. The broker must not call those.
    "-c search_path=pg_catalog"
    # A user's lock must not block the broker. The statement timeout of a database applies to its users only.
    " -c lock_timeout=10s -c statement_timeout=0"
    # Lets a broker that is not a superuser act as the roles that it creates.
    " -c createrole_self_grant=set,inherit"
)
"""Options of the broker's sessions."""

TERMINATE_TIMEOUT_MS = 3000
"""Milliseconds to wait for the end of a terminated session before terminating it again."""

DROP_ATTEMPTS = 5
"""Maximum attempts to drop a role that other sessions lock or other databases depend on."""

INTERRUPTED_DROP = -2
"""The connection limit that PostgreSQL stores for a database whose DROP was interrupted."""


@dataclass(frozen=True)
class Limits:
    """Limits of a database.

    Args:
        connections: Maximum number of concurrent connections.
        statement_timeout: Default statement timeout of a session. Sessions can change it.
        databases: Maximum number of databases per holder.
    """

    connections: int
    statement_timeout: str
    databases: int


class QuotaReached(Exception):
    """The holder has reached its maximum number of databases."""


class ExtensionRefused(Exception):
    """An extension cannot be installed or dropped because of existing objects in the database."""


class Databases:
    """The databases of one server.

    Args:
        url: The server's URL, with a role that has CREATEDB and CREATEROLE. It need not be a superuser.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def create(
        self, name: str, limits: Limits, *, holder: str, extensions: Sequence[str] | None = None
    ) -> None:
        """Create an empty database and its owner role.

        Args:
            name: The name of the database, at most 57 bytes.
            limits: The limits of the database.
            holder: The key under which the database counts towards the quota. All users of the server can
                read it.
            extensions: The extensions to install.

        Raises:
            QuotaReached: The holder has reached its maximum number of databases.
            ExtensionRefused: An extension conflicts with existing objects in the database.
        """
        with self._session(name) as session:
            _create_owner(session, name, limits, holder)
            if not _exists(session, name):
                session.execute(_create_statement(name, "template0"))
            _allow_access(session, name, limits)
        self._set_up_contents(name, extensions)

    def copy(
        self,
        template: str,
        name: str,
        limits: Limits,
        *,
        holder: str,
        extensions: Sequence[str] | None = None,
    ) -> Generator[str, None, None]:
        """Create a database as a copy of a template, like :meth:`create`, and yield progress messages.

        Objects of the owner of the template's schema `public` belong to `name`'s owner in the copy.
        No client may be connected to the template during the copy. Closing the generator cancels the copy.
        """
        with self._session(name) as session:
            yield "Creating the owner role"
            _create_owner(session, name, limits, holder)
            if not _exists(session, name):
                size = _size(session, template)
                for seconds in _elapsed_seconds(session, _create_statement(name, template)):
                    yield f"Copying {size}" + (f" for {seconds} s" if seconds else "")
            yield "Restricting access"
            _allow_access(session, name, limits)
        yield "Transferring ownership"
        self._set_up_contents(name, extensions)

    def change(
        self, name: str, limits: Limits, *, holder: str, extensions: Sequence[str] | None = None
    ) -> None:
        """Change the limits and extensions of a database.

        Open sessions keep their statement timeout. With ``extensions=None``, the extensions do not change.

        Raises:
            QuotaReached: As for :meth:`create`. The database is unchanged.
            ExtensionRefused: As for :meth:`create`. The database is unchanged.
        """
        with self._session(name) as session, session.transaction():
            _create_owner(session, name, limits, holder)
            _set_limits(session, name, limits)
            if extensions is not None:
                # Inside the transaction: if an extension is refused, the new limits are rolled back.
                self._set_up_contents(name, extensions)

    def drop(self, name: str) -> None:
        """Drop a database and all its roles, even if clients are connected or parts of it are missing."""
        with self._session(name) as session:
            session.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
            roles = session.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", [f"{name}_"]
            )
            for (role,) in roles.fetchall():
                _terminate_sessions(session, SQL("usename = {}").format(Literal(role)))
                self._drop_role(session, role, name)

    def add_user(self, name: str, user: str) -> str:
        """Create a database user, or give an existing user a new password.

        Returns:
            The password. The server receives, stores and logs only a SCRAM verifier.
        """
        password = secrets.token_urlsafe(32)
        with self._session(user) as session, session.transaction():
            scram = session.pgconn.encrypt_password(password.encode(), user.encode(), b"scram-sha-256")
            values = {
                "user": Identifier(user),
                "owner": Identifier(_owner_of(name)),
                "verifier": Literal(scram.decode()),
            }
            if not _role_exists(session, user):
                session.execute(SQL("CREATE ROLE {user} IN ROLE {owner}").format(**values))
                session.execute(SQL("ALTER ROLE {user} SET role TO {owner}").format(**values))
            session.execute(SQL("ALTER ROLE {user} LOGIN PASSWORD {verifier}").format(**values))
        return password

    def remove_user(self, name: str, user: str) -> None:
        """Drop a user. Its sessions are terminated, and its objects go to the database's owner."""
        with self._session(user) as session:
            if not _role_exists(session, user):
                return
            values = {"user": Identifier(user), "owner": Identifier(_owner_of(name))}
            session.execute(SQL("ALTER ROLE {user} NOLOGIN").format(**values))
            _terminate_sessions(session, SQL("usename = {}").format(Literal(user)))
            if _has_dependencies(session, user):
                with self._connection(user, name) as connection, connection.transaction():
                    connection.execute(SQL("REASSIGN OWNED BY {user} TO {owner}").format(**values))
                    connection.execute(SQL("DROP OWNED BY {user}").format(**values))  # its privileges
            self._drop_role(session, user, name)

    def _drop_role(self, session: Connection, role: str, name: str) -> None:
        """Drop a role of the database `name`, even if other databases reference it.

        Any user can read the names of all roles and use them in a GRANT or a policy.
        """
        for _ in range(DROP_ATTEMPTS):
            try:
                session.execute(SQL("DROP ROLE IF EXISTS {}").format(Identifier(role)))
                return
            except errors.LockNotAvailable:  # an open transaction references the role
                _terminate_sessions(session, _lock_holders(role))
            except errors.DependentObjectsStillExist:
                for database in _databases_with_privileges(session, role, name):
                    # The user who granted the privileges may also have used up all connections.
                    _terminate_sessions(session, SQL("datname = {}").format(Literal(database)))
                    with self._connection(role, database) as connection:
                        connection.execute(SQL("DROP OWNED BY {}").format(Identifier(role)))
        raise psycopg.OperationalError(f"cannot drop the role {role}; check pg_shdepend and pg_locks")

    def _set_up_contents(self, name: str, extensions: Sequence[str] | None) -> None:
        with self._connection(name, name) as connection, connection.transaction():
            _transfer_ownership(connection, _owner_of(name))
            if extensions is not None:
                _set_extensions(connection, _owner_of(name), frozenset(extensions))

    @contextmanager
    def _session(self, work: str) -> Iterator[Connection]:
        """Open a session named after its work item, and terminate older sessions of the same item.

        Only one process works on a database or user at a time. An older session belongs to a process that
        died or lost its lease. PostgreSQL does not notice a lost client while it copies a database.
        """
        with self._connection(work) as connection:
            same_work = SQL(
                "usename = current_user AND pid <> pg_backend_pid() AND starts_with(application_name, {})"
            )
            _terminate_sessions(connection, same_work.format(Literal(work)))
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


def _create_statement(name: str, template: str) -> Composed:
    """Return the CREATE DATABASE statement. No user can connect to the database until `_allow_access`.

    PostgreSQL creates a database completely or not at all.
    """
    statement = SQL("CREATE DATABASE {} TEMPLATE {} ALLOW_CONNECTIONS false")
    return statement.format(Identifier(name), Identifier(template))


def _exists(session: Connection, name: str) -> bool:
    row = session.execute("SELECT datconnlimit FROM pg_database WHERE datname = %s", [name]).fetchone()
    if row is not None and row[0] == INTERRUPTED_DROP:
        session.execute(SQL("DROP DATABASE {}").format(Identifier(name)))
        return False
    return row is not None


def _role_exists(session: Connection, role: str) -> bool:
    return session.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None


def _has_dependencies(session: Connection, role: str) -> bool:
    """Return whether a role owns objects or has privileges of its own, after a `SET ROLE NONE`."""
    dependencies = session.execute(
        "SELECT FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid ="
        " (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [role],
    )
    return dependencies.fetchone() is not None


def _databases_with_privileges(session: Connection, role: str, name: str) -> list[str]:
    """Return the other databases in which a role has privileges. It cannot own objects there."""
    databases = session.execute(
        "SELECT DISTINCT datname FROM pg_shdepend JOIN pg_database ON pg_database.oid = dbid"
        " WHERE refclassid = 'pg_authid'::regclass AND datname <> %s AND refobjid ="
        " (SELECT oid FROM pg_roles WHERE rolname = %s)",
        [name, role],
    )
    return [str(database) for (database,) in databases]


def _lock_holders(role: str) -> Composed:
    """Return a condition that selects the sessions which lock a role."""
    return SQL(
        "pid <> pg_backend_pid() AND pid IN (SELECT pid FROM pg_locks WHERE classid = 'pg_authid'::regclass"
        " AND objid = (SELECT oid FROM pg_roles WHERE rolname = {}))"
    ).format(Literal(role))


def _create_owner(session: Connection, name: str, limits: Limits, holder: str) -> None:
    """Create the owner role. Its comment names the holder; the quota is counted from these comments."""
    owner = Identifier(_owner_of(name))
    with session.transaction():
        # Serializes concurrent requests of the same holder, so that they cannot exceed the quota together.
        session.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [holder])
        current = session.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", [_owner_of(name)]
        ).fetchone()
        if current == (holder,):
            return
        count = session.execute(
            "SELECT count(*) FROM pg_shdescription"
            " WHERE classoid = 'pg_authid'::regclass AND description = %s",
            [holder],
        ).fetchone()
        if count is not None and count[0] >= limits.databases:
            raise QuotaReached(f"{holder} already has {count[0]} databases")
        if current is None:
            session.execute(SQL("CREATE ROLE {} NOLOGIN").format(owner))
        session.execute(SQL("COMMENT ON ROLE {} IS {}").format(owner, Literal(holder)))


def _allow_access(session: Connection, name: str, limits: Limits) -> None:
    """Allow connections to the database for its users only."""
    values = {"name": Identifier(name), "owner": Identifier(_owner_of(name))}
    with session.transaction():
        session.execute(SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**values))
        session.execute(
            SQL("GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {name} TO {owner}").format(**values)
        )
        _set_limits(session, name, limits)
        session.execute(SQL("ALTER DATABASE {name} ALLOW_CONNECTIONS true").format(**values))


def _set_limits(session: Connection, name: str, limits: Limits) -> None:
    values = {
        "name": Identifier(name),
        "connections": Literal(limits.connections),
        "timeout": Literal(limits.statement_timeout),
    }
    session.execute(SQL("ALTER DATABASE {name} CONNECTION LIMIT {connections}").format(**values))
    session.execute(SQL("ALTER DATABASE {name} SET statement_timeout TO {timeout}").format(**values))


def _transfer_ownership(connection: Connection, owner: str) -> None:
    """Transfer all objects of the template's owner in this database to the given owner."""
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner), nspowner FROM pg_namespace WHERE nspname = 'public'"
    ).fetchone()
    if row is None or row[0] == owner:  # already transferred, or users dropped the schema
        return
    template_owner, oid = row
    if template_owner == "pg_database_owner":  # the default in an empty database
        connection.execute(SQL("ALTER SCHEMA public OWNER TO {}").format(Identifier(owner)))
        return
    owns_more = connection.execute(
        "SELECT FROM pg_shdepend WHERE dbid = 0 AND deptype = 'o'"
        " AND refclassid = 'pg_authid'::regclass AND refobjid = %s",
        [oid],
    )
    if owns_more.fetchone() is not None:  # REASSIGN OWNED would also transfer databases
        raise ValueError(
            f"the role {template_owner!r}, which owns the template's schema public, also owns a database or"
            " tablespace; transfer the template's schemas and tables to a separate role"
        )
    connection.execute(
        SQL("REASSIGN OWNED BY {} TO {}").format(Identifier(template_owner), Identifier(owner))
    )


def _set_extensions(connection: Connection, owner: str, wanted: frozenset[str]) -> None:
    installed = {name for (name,) in connection.execute("SELECT extname FROM pg_extension")}
    try:
        for extension in sorted((installed & EXTENSIONS) - wanted):
            connection.execute(SQL("DROP EXTENSION {}").format(Identifier(extension)))
        # With the users' privileges only: a user may have prepared the schema for an attack.
        connection.execute(SQL("SET LOCAL ROLE {}").format(Identifier(owner)))
        for extension in sorted((wanted & EXTENSIONS) - installed):
            connection.execute(SQL("CREATE EXTENSION {} SCHEMA public").format(Identifier(extension)))
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


def _elapsed_seconds(session: Connection, statement: Composed) -> Iterator[int]:
    """Execute a statement and yield the elapsed seconds. Closing the generator cancels the statement."""
    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(lambda: session.execute(statement))
        try:
            seconds = 0
            while not future.done():
                yield seconds
                wait([future], timeout=1)
                seconds += 1
        finally:
            if not future.done():
                session.cancel_safe()
    future.result()


def _terminate_sessions(session: Connection, condition: Composed) -> None:
    statement = SQL("SELECT pg_terminate_backend(pid, {}) FROM pg_stat_activity WHERE {}")
    for _ in range(3):
        if not session.execute(statement.format(Literal(TERMINATE_TIMEOUT_MS), condition)).fetchall():
            return
    raise psycopg.OperationalError("cannot terminate a session; check pg_stat_activity")
