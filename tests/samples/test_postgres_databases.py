"""Tests of samples/postgres/databases.py: isolation, limits, and repetition after a crash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from samples.postgres.databases import SESSION, Databases, ExtensionRefused, Limits, QuotaReached
from samples.postgres.names import database_of, login_of

from ..support.wait import wait_until
from .conftest import LIMITS, TEMPLATE, Cluster, Row

pytestmark = pytest.mark.integration

LARGE_LIMITS = Limits(connections=50, statement_timeout="5min", databases=100)


def connect(cluster: Cluster, database: str, user: str, password: str) -> psycopg.Connection[Row]:
    return psycopg.connect(cluster.login(database, user, password), autocommit=True)


@pytest.fixture
def user(databases: Databases, name: str) -> str:
    """Return the name of a user that a new database does not have yet."""
    databases.create(name, LIMITS, holder=name)
    return f"{name}_user"


@pytest.fixture
def session(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> Iterator[psycopg.Connection[Row]]:
    """Open the session of an application."""
    with connect(cluster, name, user, databases.add_user(name, user)) as connection:
        yield connection


# Users


def test_users_share_objects_of_one_database(
    cluster: Cluster, databases: Databases, name: str, session: psycopg.Connection[Row]
) -> None:
    session.execute("CREATE TABLE things (id int); CREATE SCHEMA more; CREATE TABLE more.things (id int)")
    other = f"{name}_other"
    with connect(cluster, name, other, databases.add_user(name, other)) as second:
        second.execute("ALTER TABLE things ADD name text; DROP SCHEMA more CASCADE; DROP TABLE things")


def test_remove_user_ends_sessions_and_keeps_objects(
    cluster: Cluster, databases: Databases, name: str, user: str, session: psycopg.Connection[Row]
) -> None:
    session.execute("SET ROLE NONE")
    session.execute(
        "CREATE SCHEMA own; CREATE TABLE own.things (id int); GRANT USAGE ON SCHEMA own TO PUBLIC"
    )
    session.execute("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    databases.remove_user(name, user)
    with pytest.raises(psycopg.OperationalError):
        session.execute("SELECT 1")
    assert cluster.execute("SELECT FROM pg_roles WHERE rolname = %s", user) == []
    owners = cluster.execute(
        "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'own'", database=name
    )
    assert owners == [(f"{name}_owner",)]


def test_remove_user_with_an_open_lock(cluster: Cluster, databases: Databases, name: str, user: str) -> None:
    password = databases.add_user(name, user)
    with connect(cluster, name, user, password) as one, connect(cluster, name, user, password) as two:
        one.execute("CREATE TABLE things (id int)")
        with suppress(errors.AdminShutdown), two.transaction():
            two.execute("LOCK things")
            databases.remove_user(name, user)
            two.execute("SELECT 1")
    assert not cluster.execute("SELECT FROM pg_stat_activity WHERE usename = %s", user)


def test_add_user_again_replaces_the_password(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    first, second = databases.add_user(name, user), databases.add_user(name, user)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(cluster, name, user, first)
    connect(cluster, name, user, second).close()


def test_add_user_hides_password_from_server(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    password = databases.add_user(name, user)
    assert f'ALTER ROLE "{user}" LOGIN PASSWORD \'SCRAM-SHA-256$' in cluster.server.log
    assert password not in cluster.server.log


# Isolation


@pytest.mark.parametrize("suffix", ["owner", "user"])
@pytest.mark.parametrize(
    "statement", ["GRANT SELECT ON things TO {}", "CREATE POLICY p ON things TO {}"], ids=["grant", "policy"]
)
@pytest.mark.parametrize("is_open", [False, True], ids=["committed", "in an open transaction"])
def test_drop_despite_references_in_other_databases(
    suffix: str,
    statement: str,
    is_open: bool,
    cluster: Cluster,
    databases: Databases,
    name: str,
    new_name: Callable[[], str],
    session: psycopg.Connection[Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any user can read all roles in `pg_roles` and reference them in its own database."""
    monkeypatch.setattr("samples.postgres.databases.SESSION", SESSION.replace("=10s", "=200ms"))
    other = new_name()
    databases.create(other, LIMITS, holder=other)
    databases.add_user(other, f"{other}_user")
    session.execute("CREATE TABLE things (id int)")
    if is_open:
        session.execute("BEGIN")
    session.execute(statement.format(f"{other}_{suffix}").encode())
    databases.remove_user(other, f"{other}_user")
    databases.drop(other)
    assert not cluster.execute("SELECT FROM pg_roles WHERE starts_with(rolname, %s)", f"{other}_")
    assert cluster.execute("SELECT FROM pg_tables WHERE tablename = 'things'", database=name)
    session.close()  # already closed by the server if it blocked the drop


@pytest.mark.parametrize("database", ["postgres", "template1", "broker", TEMPLATE, "another"])
def test_user_cannot_connect_to_other_databases(
    database: str,
    cluster: Cluster,
    databases: Databases,
    name: str,
    user: str,
    new_name: Callable[[], str],
) -> None:
    password = databases.add_user(name, user)
    if database == "another":
        database = new_name()
        databases.create(database, LIMITS, holder=name)
    with pytest.raises(psycopg.OperationalError, match=r"permission denied|not currently accepting"):
        connect(cluster, database, user, password)


@pytest.fixture(scope="module")
def tenant_session(cluster: Cluster) -> Iterator[psycopg.Connection[Row]]:
    """Open a user's session for forbidden statements, while a superuser is connected too."""
    databases, name = Databases(cluster.url), f"db_{uuid4().hex}"
    user = f"{name}_user"
    databases.create(name, LIMITS, holder=name)
    try:
        with (
            psycopg.connect(cluster.server.conninfo),
            connect(cluster, name, user, databases.add_user(name, user)) as connection,
        ):
            connection.execute("CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
            yield connection
    finally:
        databases.drop(name)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT rolpassword FROM pg_authid",
        "SET ROLE postgres",
        "SET ROLE broker",
        "SET SESSION AUTHORIZATION postgres",
        "CREATE ROLE intruder",
        "CREATE DATABASE intruder",
        "ALTER ROLE {user} SUPERUSER",
        "ALTER ROLE {name}_owner LOGIN",
        "GRANT broker TO {user}",
        "GRANT {name}_owner TO postgres",
        "COMMENT ON ROLE {name}_owner IS 'another holder'",
        "ALTER DATABASE {name} CONNECTION LIMIT -1",
        "ALTER DATABASE {name} SET statement_timeout TO 0",
        "ALTER DATABASE {name} OWNER TO {user}",
        "ALTER DATABASE {name} RENAME TO mine",
        "DROP DATABASE {name}",
        "SELECT pg_read_file('/etc/passwd')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "CREATE EXTENSION dblink",
        "CREATE EVENT TRIGGER trap ON ddl_command_start EXECUTE FUNCTION f()",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    ],
)
@pytest.mark.parametrize("role", ["{name}_owner", "NONE"])
def test_user_lacks_privileges(statement: str, role: str, tenant_session: psycopg.Connection[Row]) -> None:
    name, user = tenant_session.info.dbname, tenant_session.info.user
    tenant_session.execute(f"SET ROLE {role}".format(name=name).encode())
    with pytest.raises(errors.InsufficientPrivilege):
        tenant_session.execute(statement.format(name=name, user=user).encode())


def test_user_cannot_grant_access_to_others(
    cluster: Cluster,
    databases: Databases,
    name: str,
    session: psycopg.Connection[Row],
    new_name: Callable[[], str],
) -> None:
    other = new_name()
    databases.create(other, LIMITS, holder=name)
    password = databases.add_user(other, f"{other}_user")
    session.execute(f"GRANT ALL ON DATABASE {name} TO PUBLIC".encode())  # only a warning: nothing is granted
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        connect(cluster, name, f"{other}_user", password)


def test_change_never_runs_code_of_users(
    cluster: Cluster, databases: Databases, name: str, user: str, session: psycopg.Connection[Row]
) -> None:
    """Functions in a user's schema would run with the broker's privileges."""
    session.execute(
        "CREATE TABLE calls (role text);"
        "CREATE FUNCTION public.note(name, name) RETURNS boolean LANGUAGE sql AS"
        " 'INSERT INTO public.calls VALUES (current_user) RETURNING true';"
        "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.note)"
    )
    databases.change(name, LARGE_LIMITS, holder=name, extensions=["citext", "hstore", "pg_trgm"])
    databases.change(name, LARGE_LIMITS, holder=name, extensions=[])
    assert session.execute("SELECT * FROM calls").fetchall() == []


# Limits


def test_connection_limit_is_enforced(cluster: Cluster, databases: Databases, name: str, user: str) -> None:
    databases.change(name, Limits(2, "30s", 100), holder=name)
    password = databases.add_user(name, user)
    with connect(cluster, name, user, password), connect(cluster, name, user, password):
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            connect(cluster, name, user, password)
        databases.change(name, Limits(3, "30s", 100), holder=name)
        connect(cluster, name, user, password).close()


def test_statement_timeout_is_enforced(cluster: Cluster, databases: Databases, name: str, user: str) -> None:
    databases.change(name, Limits(5, "50ms", 100), holder=name)
    password = databases.add_user(name, user)
    with (
        connect(cluster, name, user, password) as connection,
        pytest.raises(errors.QueryCanceled, match="statement timeout"),
    ):
        connection.execute("SELECT pg_sleep(30)")


def test_statement_timeout_does_not_affect_broker(databases: Databases, name: str) -> None:
    databases.create(name, Limits(5, "1ms", 100), holder=name)
    databases.change(name, Limits(5, "1ms", 100), holder=name, extensions=["hstore"])


def test_superuser_works_as_broker_role(cluster: Cluster, name: str) -> None:
    databases, user = Databases(cluster.server.conninfo), f"{name}_user"
    databases.create(name, LIMITS, holder=name, extensions=["hstore"])
    with connect(cluster, name, user, databases.add_user(name, user)) as connection:
        connection.execute("CREATE TABLE things (h hstore); SET ROLE NONE; CREATE TABLE own (h hstore)")
    databases.change(name, LARGE_LIMITS, holder=name, extensions=["hstore", "citext"])
    databases.remove_user(name, user)
    databases.drop(name)
    assert state_of(cluster, name) == EMPTY_STATE


def test_quota_holds_for_concurrent_requests(databases: Databases, new_name: Callable[[], str]) -> None:
    limits = Limits(5, "30s", databases=2)
    names = [new_name() for _ in range(4)]

    def create(name: str) -> bool:
        try:
            databases.create(name, limits, holder=names[0])
        except QuotaReached:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(create, names)) == [False, False, True, True]


def test_quota_follows_database_to_new_plan(databases: Databases, new_name: Callable[[], str]) -> None:
    first, second, third = names = [new_name(), new_name(), new_name()]
    small, large = f"small {names}", f"large {names}"
    two, one = Limits(5, "30s", databases=2), Limits(50, "30s", databases=1)
    databases.create(first, two, holder=small)
    databases.create(second, two, holder=small)
    databases.change(first, one, holder=large)
    databases.change(first, one, holder=large)
    databases.create(third, two, holder=small)
    with pytest.raises(QuotaReached):
        databases.change(second, one, holder=large)
    databases.drop(first)
    databases.change(second, one, holder=large)


# Extensions


def extensions_of(cluster: Cluster, name: str) -> set[str]:
    rows = cluster.execute("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'", database=name)
    return {extension for (extension,) in rows}


def test_extensions_match_the_requested_list(cluster: Cluster, databases: Databases, name: str) -> None:
    for wanted in (["hstore", "citext"], ["citext", "pg_trgm"], []):
        databases.create(name, LIMITS, holder=name, extensions=wanted)
        assert extensions_of(cluster, name) == set(wanted)


def test_extensions_belong_to_the_owner(cluster: Cluster, databases: Databases, name: str) -> None:
    databases.create(name, LIMITS, holder=name, extensions=["hstore"])
    owners = "SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'hstore'"
    assert cluster.execute(owners, database=name) == [(f"{name}_owner",)]


def test_extensions_outside_the_list_stay_unchanged(
    cluster: Cluster, databases: Databases, name: str, session: psycopg.Connection[Row]
) -> None:
    session.execute("CREATE EXTENSION fuzzystrmatch")
    databases.change(name, LIMITS, holder=name, extensions=["dblink", "hstore"])
    assert extensions_of(cluster, name) == {"fuzzystrmatch", "hstore"}


@pytest.mark.parametrize(
    ("existing", "extensions", "message"),
    [
        ("CREATE TABLE things (h hstore)", ["pg_trgm"], "hstore: cannot drop extension hstore"),
        ("CREATE DOMAIN citext AS text", ["citext", "hstore"], 'citext: type "citext" already exists'),
        ("DROP SCHEMA public CASCADE", ["citext"], 'citext: schema "public" does not exist'),
    ],
)
def test_refused_change_has_no_effect(
    existing: str,
    extensions: list[str],
    message: str,
    cluster: Cluster,
    databases: Databases,
    name: str,
    session: psycopg.Connection[Row],
) -> None:
    databases.change(name, LIMITS, holder=name, extensions=["hstore"])
    session.execute(existing.encode())
    before = state_of(cluster, name)
    with pytest.raises(ExtensionRefused, match=message):
        databases.change(name, LARGE_LIMITS, holder=f"other {name}", extensions=extensions)
    assert state_of(cluster, name) == before


# Copies


def test_copy_has_data_and_own_owner(cluster: Cluster, databases: Databases, name: str) -> None:
    progress = [*databases.copy(TEMPLATE, name, LIMITS, holder=name)]
    assert progress[0] == "Creating the owner role"
    assert progress[1].startswith("Copying ")
    assert progress[-2:] == ["Restricting access", "Transferring ownership"]
    user = f"{name}_user"
    with connect(cluster, name, user, databases.add_user(name, user)) as connection:
        assert connection.execute("SELECT count(*) FROM products").fetchall() == [(100_000,)]
        connection.execute("ALTER TABLE products ADD stock int; DROP TABLE products")


@contextmanager
def busy_template(cluster: Cluster) -> Iterator[str]:
    """Create a template that cannot be copied, because a session is connected to it."""
    template = f"template_{uuid4().hex}"
    cluster.execute(f"CREATE DATABASE {template} OWNER broker")
    try:
        with psycopg.connect(cluster.server.conninfo, dbname=template):
            yield template
    finally:
        cluster.execute(f"DROP DATABASE {template} WITH (FORCE)")


def is_copying(cluster: Cluster, name: str) -> bool:
    rows = cluster.execute(
        "SELECT FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"
        " AND query LIKE 'CREATE DATABASE%%'",
        name,
    )
    return bool(rows)


def test_copy_is_cancelled_by_closing_generator(cluster: Cluster, databases: Databases, name: str) -> None:
    with busy_template(cluster) as template:
        copying = databases.copy(template, name, LIMITS, holder=name)
        next(message for message in copying if message.startswith("Copying"))
        wait_until(lambda: is_copying(cluster, name))
        logged = len(cluster.server.log)
        copying.close()
        assert not is_copying(cluster, name)
        assert "canceling statement due to user request" in cluster.server.log[logged:]
    databases.drop(name)
    assert state_of(cluster, name) == EMPTY_STATE


def test_create_terminates_session_of_dead_process(cluster: Cluster, databases: Databases, name: str) -> None:
    terminated = threading.Event()

    def orphaned_session() -> None:
        with suppress(psycopg.OperationalError), psycopg.connect(cluster.url, application_name=name) as dead:
            try:
                dead.execute("SELECT pg_sleep(60)")
            except errors.AdminShutdown:
                terminated.set()

    thread = threading.Thread(target=orphaned_session)
    thread.start()
    wait_until(lambda: cluster.execute("SELECT FROM pg_stat_activity WHERE application_name = %s", name))
    databases.create(name, LIMITS, holder=name)
    thread.join(30)
    assert terminated.is_set()


def test_copy_refuses_template_owner_with_databases(
    cluster: Cluster, databases: Databases, name: str
) -> None:
    template, owner = f"template_{name}", f"owner_{name}"
    cluster.execute(f"CREATE ROLE {owner}")
    cluster.execute(f"GRANT {owner} TO broker")
    cluster.execute(f"CREATE DATABASE {template} OWNER {owner} IS_TEMPLATE true")
    try:
        cluster.execute(f"ALTER SCHEMA public OWNER TO {owner}", database=template)
        with pytest.raises(ValueError, match=f"'{owner}'.*also owns a database"):
            [*databases.copy(template, name, LIMITS, holder=name)]
        assert cluster.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", template
        ) == [(owner,)]
    finally:
        databases.drop(name)
        cluster.execute(f"ALTER DATABASE {template} IS_TEMPLATE false")
        cluster.execute(f"DROP DATABASE {template}")
        cluster.execute(f"DROP ROLE {owner}")


# Crashes

EMPTY_STATE: dict[str, list[Row]] = {"roles": [], "databases": [], "sessions": [], "content": []}

STATE = {
    "roles": "SELECT rolname, rolcanlogin, rolpassword IS NULL,"
    " (SELECT setconfig FROM pg_db_role_setting WHERE setrole = pg_authid.oid)::text,"
    " ARRAY(SELECT pg_get_userbyid(roleid) || ' ' || set_option FROM pg_auth_members"
    " WHERE member = pg_authid.oid)::text,"
    " shobj_description(oid, 'pg_authid') FROM pg_authid WHERE starts_with(rolname, %s) ORDER BY 1",
    "databases": "SELECT datname, datallowconn, datconnlimit, datacl::text, setconfig::text FROM pg_database"
    " LEFT JOIN pg_db_role_setting ON setdatabase = pg_database.oid WHERE datname = %s",
    "sessions": "SELECT 'left' FROM pg_stat_activity WHERE starts_with(application_name, %s)",
}
CONTENT = (
    "SELECT 'schema', nspname, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname !~ '^pg_'"
    " UNION ALL SELECT 'table', relname, pg_get_userbyid(relowner) FROM pg_class WHERE oid >= 16384 AND"
    " relkind = 'r' UNION ALL SELECT 'extension', extname, pg_get_userbyid(extowner) FROM pg_extension"
    " ORDER BY 1, 2"
)


def state_of(cluster: Cluster, name: str) -> dict[str, list[Row]]:
    """Return the complete state of a database, with its name replaced by `db`."""
    wait_until(lambda: not cluster.execute(STATE["sessions"], name))
    state = {part: cluster.execute(statement, name) for part, statement in STATE.items()}
    accepts_connections = any(row[1] for row in state["databases"])
    state["content"] = cluster.execute(CONTENT, database=name) if accepts_connections else []
    return {
        part: [tuple(v.replace(name, "db") if isinstance(v, str) else v for v in row) for row in rows]
        for part, rows in state.items()
    }


class Crash(BaseException):
    """Simulated death of the process."""


@contextmanager
def crashing_after(statements: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Raise `Crash` after this number of statements, and yield the executed statements."""
    execute = psycopg.Connection.execute
    executed: list[object] = []

    def execute_and_crash(self: psycopg.Connection[Any], statement: Any, *more: Any) -> psycopg.Cursor[Any]:
        cursor = execute(self, statement, *more)
        executed.append(statement)
        if len(executed) == statements:
            raise Crash
        return cursor

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", execute_and_crash)
        yield executed


def create_database(cluster: Cluster, databases: Databases, name: str) -> None:
    databases.create(name, LIMITS, holder=f"small {name}", extensions=["hstore"])


def create_database_with_users(cluster: Cluster, databases: Databases, name: str) -> None:
    """Create a database with two users and tables of both."""
    create_database(cluster, databases, name)
    for user in (f"{name}_user", f"{name}_other"):
        with connect(cluster, name, user, databases.add_user(name, user)) as connection:
            connection.execute(f"CREATE TABLE of_{user[-5:]} (id int); SET ROLE NONE".encode())
            connection.execute(f"CREATE TABLE own_of_{user[-5:]} (id int)".encode())


def prepare_nothing(cluster: Cluster, databases: Databases, name: str) -> None:
    pass


STEPS: dict[str, tuple[Callable[[Cluster, Databases, str], None], Callable[[Databases, str], object]]] = {
    "create": (
        prepare_nothing,
        lambda databases, name: databases.create(
            name, LIMITS, holder=f"small {name}", extensions=["hstore", "citext"]
        ),
    ),
    "copy": (
        prepare_nothing,
        lambda databases, name: [
            *databases.copy(TEMPLATE, name, LIMITS, holder=f"restored {name}", extensions=["citext"])
        ],
    ),
    "change": (
        create_database,
        lambda databases, name: databases.change(
            name, LARGE_LIMITS, holder=f"large {name}", extensions=["citext", "pg_trgm"]
        ),
    ),
    "add_user": (create_database, lambda databases, name: databases.add_user(name, f"{name}_user")),
    "remove_user": (
        create_database_with_users,
        lambda databases, name: databases.remove_user(name, f"{name}_user"),
    ),
    "drop": (create_database_with_users, lambda databases, name: databases.drop(name)),
}
"""Preparation and action of each step."""


@pytest.mark.parametrize("step", STEPS)
def test_interrupted_step_completes_when_repeated(
    step: str, cluster: Cluster, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill the step after every one of its statements, and repeat it."""
    prepare, perform = STEPS[step]
    expected: dict[str, list[Row]] | None = None
    for statements in range(1, 100):
        name = f"db_{uuid4().hex}"
        try:
            prepare(cluster, databases, name)
            with crashing_after(statements, monkeypatch) as executed:
                try:
                    perform(databases, name)
                    crashed = False
                except Crash:
                    crashed = True
            perform(databases, name)
            state = state_of(cluster, name)
        finally:
            databases.drop(name)
        if expected is None:
            expected = expected_state(cluster, databases, step)
        assert state == expected, f"killed after {executed[-1]}"
        if not crashed:
            assert statements > 3
            return
    raise AssertionError("the step did not complete")


def expected_state(cluster: Cluster, databases: Databases, step: str) -> dict[str, list[Row]]:
    """Return the state after a step that was not interrupted."""
    prepare, perform = STEPS[step]
    name = f"db_{uuid4().hex}"
    try:
        prepare(cluster, databases, name)
        perform(databases, name)
        return state_of(cluster, name)
    finally:
        databases.drop(name)


def test_create_allows_no_connections_until_restricted(
    cluster: Cluster, databases: Databases, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crashing_after(100, monkeypatch) as executed, suppress(Crash):
        databases.create(name, LIMITS, holder=name)
    created = next(n for n, statement in enumerate(executed, 1) if "CREATE DATABASE" in str(statement))
    databases.drop(name)
    with crashing_after(created, monkeypatch), suppress(Crash):
        databases.create(name, LIMITS, holder=name)
    assert cluster.execute("SELECT datallowconn FROM pg_database WHERE datname = %s", name) == [(False,)]


def test_create_replaces_database_of_interrupted_drop(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    cluster.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", name)
    databases.create(name, LIMITS, holder=name)
    connect(cluster, name, user, databases.add_user(name, user)).close()


# Names


def test_names_are_valid_and_unique() -> None:
    long = "x" * 300
    ids = [
        *("i1", "I1", "i1 ", " i1", "i", "1", "ı1", "i\u03071", "", "\0", "\0\0", "\ud800", "\udcff"),
        *(long, long + "x", long[:-1] + "y", "y" + long, long[:63], long[:62], long[:64], long.upper()),
        *("'; DROP DATABASE postgres; --", '"; DROP ROLE broker; --', "%s", "{}", "\\", "../..", "a/b", "🐘"),
    ]
    names = [database_of(id_) for id_ in ids] + [login_of(one, other) for one in ids for other in ids]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 63 and name.isidentifier() and name.isascii() for name in names)


def test_names_never_change() -> None:
    """With other names, the broker would lose all existing databases."""
    assert database_of("orders") == "db_dqlivwya2ieoil4tgfcst4p2tq"
    assert login_of("orders", "shop") == "db_dqlivwya2ieoil4tgfcst4p2tq_rwiaduzmnjyd3fmsdj3rcucq6m"
