"""What samples/postgres does in PostgreSQL: isolation, limits, and that every step can be repeated."""

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

from ..resilience.wait import until
from .conftest import LIMITS, TEMPLATE, Cluster, Row

MORE = Limits(connections=50, statement_timeout="5min", databases=100)


def enter(cluster: Cluster, database: str, user: str, password: str) -> psycopg.Connection[Row]:
    return psycopg.connect(cluster.login(database, user, password), autocommit=True)


@pytest.fixture
def user(databases: Databases, name: str) -> str:
    """Of a database that has no user yet."""
    databases.create(name, LIMITS, holder=name)
    return f"{name}_user"


@pytest.fixture
def session(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> Iterator[psycopg.Connection[Row]]:
    """That of an application."""
    with enter(cluster, name, user, databases.add_user(name, user)) as connection:
        yield connection


# Users


def test_what_one_user_makes_all_users_may_change(
    cluster: Cluster, databases: Databases, name: str, session: psycopg.Connection[Row]
) -> None:
    session.execute("CREATE TABLE things (id int); CREATE SCHEMA more; CREATE TABLE more.things (id int)")
    other = f"{name}_other"
    with enter(cluster, name, other, databases.add_user(name, other)) as second:
        second.execute("ALTER TABLE things ADD name text; DROP SCHEMA more CASCADE; DROP TABLE things")


def test_a_user_who_is_removed_is_out_at_once_and_what_it_made_as_itself_stays(
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
    assert cluster.ask("SELECT FROM pg_roles WHERE rolname = %s", user) == []
    owners = cluster.ask("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'own'", database=name)
    assert owners == [(f"{name}_owner",)]


def test_a_user_who_holds_a_lock_does_not_keep_another_from_being_removed(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    password = databases.add_user(name, user)
    with enter(cluster, name, user, password) as one, enter(cluster, name, user, password) as two:
        one.execute("CREATE TABLE things (id int)")
        with suppress(errors.AdminShutdown), two.transaction():
            two.execute("LOCK things")
            databases.remove_user(name, user)
            two.execute("SELECT 1")
    assert not cluster.ask("SELECT FROM pg_stat_activity WHERE usename = %s", user)


def test_a_new_password_is_the_only_one(cluster: Cluster, databases: Databases, name: str, user: str) -> None:
    first, second = databases.add_user(name, user), databases.add_user(name, user)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        enter(cluster, name, user, first)
    enter(cluster, name, user, second).close()


def test_the_server_never_learns_a_password(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    password = databases.add_user(name, user)
    assert f'ALTER ROLE "{user}" LOGIN PASSWORD \'SCRAM-SHA-256$' in cluster.server.log
    assert password not in cluster.server.log


# Isolation


@pytest.mark.parametrize("what", ["owner", "user"])
@pytest.mark.parametrize(
    "statement", ["GRANT SELECT ON things TO {}", "CREATE POLICY p ON things TO {}"], ids=["grant", "policy"]
)
@pytest.mark.parametrize("is_open", [False, True], ids=["", "in a transaction that stays open"])
def test_who_says_a_role_of_anothers_does_not_keep_it_from_being_dropped(
    what: str,
    statement: str,
    is_open: bool,
    cluster: Cluster,
    databases: Databases,
    name: str,
    new_name: Callable[[], str],
    session: psycopg.Connection[Row],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All roles can be seen in `pg_roles`, and any of them be named in a database of one's own."""
    monkeypatch.setattr("samples.postgres.databases.SESSION", SESSION.replace("=10s", "=200ms"))
    other = new_name()
    databases.create(other, LIMITS, holder=other)
    databases.add_user(other, f"{other}_user")
    session.execute("CREATE TABLE things (id int)")
    if is_open:
        session.execute("BEGIN")
    session.execute(statement.format(f"{other}_{what}").encode())
    databases.remove_user(other, f"{other}_user")
    databases.drop(other)
    assert not cluster.ask("SELECT FROM pg_roles WHERE starts_with(rolname, %s)", f"{other}_")
    assert cluster.ask("SELECT FROM pg_tables WHERE tablename = 'things'", database=name)
    session.close()  # which the server has done before, if it was in the way


@pytest.mark.parametrize("database", ["postgres", "template1", "broker", TEMPLATE, "another"])
def test_a_user_enters_no_database_but_its_own(
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
        enter(cluster, database, user, password)


@pytest.fixture(scope="module")
def lodger(cluster: Cluster) -> Iterator[psycopg.Connection[Row]]:
    """One user who tries all that it may not, while the superuser is in."""
    databases, name = Databases(cluster.url), f"db_{uuid4().hex}"
    user = f"{name}_user"
    databases.create(name, LIMITS, holder=name)
    try:
        with (
            psycopg.connect(cluster.server.conninfo),
            enter(cluster, name, user, databases.add_user(name, user)) as connection,
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
        "COMMENT ON ROLE {name}_owner IS 'somebody else''s'",
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
def test_a_user_may_not(statement: str, role: str, lodger: psycopg.Connection[Row]) -> None:
    name, user = lodger.info.dbname, lodger.info.user
    lodger.execute(f"SET ROLE {role}".format(name=name).encode())
    with pytest.raises(errors.InsufficientPrivilege):
        lodger.execute(statement.format(name=name, user=user).encode())


def test_a_user_lets_nobody_else_in(
    cluster: Cluster,
    databases: Databases,
    name: str,
    session: psycopg.Connection[Row],
    new_name: Callable[[], str],
) -> None:
    other = new_name()
    databases.create(other, LIMITS, holder=name)
    password = databases.add_user(other, f"{other}_user")
    session.execute(f"GRANT ALL ON DATABASE {name} TO PUBLIC".encode())  # a warning, and nothing is granted
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        enter(cluster, name, f"{other}_user", password)


def test_what_a_user_prepares_in_its_schema_is_not_run_with_the_rights_of_the_broker(
    cluster: Cluster, databases: Databases, name: str, user: str, session: psycopg.Connection[Row]
) -> None:
    session.execute(
        "CREATE TABLE ran (who text);"
        "CREATE FUNCTION public.note(name, name) RETURNS boolean LANGUAGE sql AS"
        " 'INSERT INTO public.ran VALUES (current_user) RETURNING true';"
        "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.note)"
    )
    databases.change(name, MORE, holder=name, extensions=["citext", "hstore", "pg_trgm"])
    databases.change(name, MORE, holder=name, extensions=[])
    assert session.execute("SELECT * FROM ran").fetchall() == []


# Limits


def test_the_connections_of_a_database_are_limited(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    databases.change(name, Limits(2, "30s", 100), holder=name)
    password = databases.add_user(name, user)
    with enter(cluster, name, user, password), enter(cluster, name, user, password):
        with pytest.raises(psycopg.OperationalError, match="too many connections"):
            enter(cluster, name, user, password)
        databases.change(name, Limits(3, "30s", 100), holder=name)
        enter(cluster, name, user, password).close()


def test_a_statement_that_takes_too_long_is_ended(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    databases.change(name, Limits(5, "50ms", 100), holder=name)
    password = databases.add_user(name, user)
    with (
        enter(cluster, name, user, password) as connection,
        pytest.raises(errors.QueryCanceled, match="statement timeout"),
    ):
        connection.execute("SELECT pg_sleep(30)")


def test_the_broker_itself_may_take_its_time(databases: Databases, name: str) -> None:
    databases.create(name, Limits(5, "1ms", 100), holder=name)
    databases.change(name, Limits(5, "1ms", 100), holder=name, extensions=["hstore"])


def test_a_superuser_can_be_the_brokers_role_too(cluster: Cluster, name: str) -> None:
    databases, user = Databases(cluster.server.conninfo), f"{name}_user"
    databases.create(name, LIMITS, holder=name, extensions=["hstore"])
    with enter(cluster, name, user, databases.add_user(name, user)) as connection:
        connection.execute("CREATE TABLE things (h hstore); SET ROLE NONE; CREATE TABLE own (h hstore)")
    databases.change(name, MORE, holder=name, extensions=["hstore", "citext"])
    databases.remove_user(name, user)
    databases.drop(name)
    assert state_of(cluster, name) == NOTHING


def test_the_quota_holds_for_those_who_come_at_the_same_time(
    databases: Databases, new_name: Callable[[], str]
) -> None:
    limits = Limits(5, "30s", databases=2)
    names = [new_name() for _ in range(4)]

    def order(name: str) -> bool:
        try:
            databases.create(name, limits, holder=names[0])
        except QuotaReached:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(order, names)) == [False, False, True, True]


def test_a_database_that_moves_to_another_plan_counts_there(
    databases: Databases, new_name: Callable[[], str]
) -> None:
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
    found = cluster.ask("SELECT extname FROM pg_extension WHERE extname <> 'plpgsql'", database=name)
    return {extension for (extension,) in found}


def test_a_database_has_just_the_extensions_that_are_asked_for(
    cluster: Cluster, databases: Databases, name: str
) -> None:
    for wanted in (["hstore", "citext"], ["citext", "pg_trgm"], []):
        databases.create(name, LIMITS, holder=name, extensions=wanted)
        assert extensions_of(cluster, name) == set(wanted)


def test_extensions_belong_to_the_owner(cluster: Cluster, databases: Databases, name: str) -> None:
    databases.create(name, LIMITS, holder=name, extensions=["hstore"])
    owners = "SELECT pg_get_userbyid(extowner) FROM pg_extension WHERE extname = 'hstore'"
    assert cluster.ask(owners, database=name) == [(f"{name}_owner",)]


def test_only_those_on_the_list_are_installed_or_dropped(
    cluster: Cluster, databases: Databases, name: str, session: psycopg.Connection[Row]
) -> None:
    session.execute("CREATE EXTENSION fuzzystrmatch")
    databases.change(name, LIMITS, holder=name, extensions=["dblink", "hstore"])
    assert extensions_of(cluster, name) == {"fuzzystrmatch", "hstore"}


@pytest.mark.parametrize(
    ("prepared", "wanted", "told"),
    [
        ("CREATE TABLE things (h hstore)", ["pg_trgm"], "hstore: cannot drop extension hstore"),
        ("CREATE DOMAIN citext AS text", ["citext", "hstore"], 'citext: type "citext" already exists'),
        ("DROP SCHEMA public CASCADE", ["citext"], 'citext: schema "public" does not exist'),
    ],
)
def test_a_change_that_the_content_forbids_changes_nothing(
    prepared: str,
    wanted: list[str],
    told: str,
    cluster: Cluster,
    databases: Databases,
    name: str,
    session: psycopg.Connection[Row],
) -> None:
    databases.change(name, LIMITS, holder=name, extensions=["hstore"])
    session.execute(prepared.encode())
    before = state_of(cluster, name)
    with pytest.raises(ExtensionRefused, match=told):
        databases.change(name, MORE, holder=f"other {name}", extensions=wanted)
    assert state_of(cluster, name) == before


# Copies


def test_a_copy_has_the_templates_data_and_belongs_to_its_own_owner(
    cluster: Cluster, databases: Databases, name: str
) -> None:
    told = [*databases.copy(TEMPLATE, name, LIMITS, holder=name)]
    assert told[0] == "Making its owner"
    assert told[1].startswith("Copying ")
    assert told[-2:] == ["Closing it to others", "Handing it to its owner"]
    user = f"{name}_user"
    with enter(cluster, name, user, databases.add_user(name, user)) as connection:
        assert connection.execute("SELECT count(*) FROM products").fetchall() == [(100_000,)]
        connection.execute("ALTER TABLE products ADD stock int; DROP TABLE products")


@contextmanager
def busy_template(cluster: Cluster) -> Iterator[str]:
    """A template whose copying does not get on, since somebody is connected to it."""
    template = f"template_{uuid4().hex}"
    cluster.ask(f"CREATE DATABASE {template} OWNER broker")
    try:
        with psycopg.connect(cluster.server.conninfo, dbname=template):
            yield template
    finally:
        cluster.ask(f"DROP DATABASE {template} WITH (FORCE)")


def is_copying(cluster: Cluster, name: str) -> bool:
    found = cluster.ask(
        "SELECT FROM pg_stat_activity WHERE application_name = %s AND state = 'active'"
        " AND query LIKE 'CREATE DATABASE%%'",
        name,
    )
    return bool(found)


def test_closing_a_copy_ends_the_copying(cluster: Cluster, databases: Databases, name: str) -> None:
    with busy_template(cluster) as template:
        copying = databases.copy(template, name, LIMITS, holder=name)
        next(told for told in copying if told.startswith("Copying"))
        until(lambda: is_copying(cluster, name))
        logged = len(cluster.server.log)
        copying.close()
        assert not is_copying(cluster, name)
        assert "canceling statement due to user request" in cluster.server.log[logged:]
    databases.drop(name)
    assert state_of(cluster, name) == NOTHING


def test_what_a_process_left_running_that_died_is_ended_by_who_takes_it_up(
    cluster: Cluster, databases: Databases, name: str
) -> None:
    ended = threading.Event()

    def left_over() -> None:
        with suppress(psycopg.OperationalError), psycopg.connect(cluster.url, application_name=name) as dead:
            try:
                dead.execute("SELECT pg_sleep(60)")
            except errors.AdminShutdown:
                ended.set()

    thread = threading.Thread(target=left_over)
    thread.start()
    until(lambda: cluster.ask("SELECT FROM pg_stat_activity WHERE application_name = %s", name))
    databases.create(name, LIMITS, holder=name)
    thread.join(30)
    assert ended.is_set()


def test_a_template_whose_owner_owns_databases_is_refused(
    cluster: Cluster, databases: Databases, name: str
) -> None:
    template, careless = f"template_{name}", f"careless_{name}"
    cluster.ask(f"CREATE ROLE {careless}")
    cluster.ask(f"GRANT {careless} TO broker")
    cluster.ask(f"CREATE DATABASE {template} OWNER {careless} IS_TEMPLATE true")
    try:
        cluster.ask(f"ALTER SCHEMA public OWNER TO {careless}", database=template)
        with pytest.raises(ValueError, match=f"'{careless}'.*owns a database"):
            [*databases.copy(template, name, LIMITS, holder=name)]
        assert cluster.ask(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", template
        ) == [(careless,)]
    finally:
        databases.drop(name)
        cluster.ask(f"ALTER DATABASE {template} IS_TEMPLATE false")
        cluster.ask(f"DROP DATABASE {template}")
        cluster.ask(f"DROP ROLE {careless}")


# Crashes

NOTHING: dict[str, list[Row]] = {"roles": [], "databases": [], "sessions": [], "content": []}

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
    """All that there is of a database, but for its name."""
    until(lambda: not cluster.ask(STATE["sessions"], name))
    state = {about: cluster.ask(statement, name) for about, statement in STATE.items()}
    open_ = [row for row in state["databases"] if row[1]]
    state["content"] = cluster.ask(CONTENT, database=name) if open_ else []
    return {
        about: [tuple(v.replace(name, "db") if isinstance(v, str) else v for v in row) for row in rows]
        for about, rows in state.items()
    }


class Crash(BaseException):
    """The process is killed."""


@contextmanager
def crashing_after(statements: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Kill who executes statements, when so many are through; yields them."""
    execute = psycopg.Connection.execute
    executed: list[object] = []

    def execute_and_die(self: psycopg.Connection[Any], statement: Any, *more: Any) -> psycopg.Cursor[Any]:
        cursor = execute(self, statement, *more)
        executed.append(statement)
        if len(executed) == statements:
            raise Crash
        return cursor

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "execute", execute_and_die)
        yield executed


def made(cluster: Cluster, databases: Databases, name: str) -> None:
    databases.create(name, LIMITS, holder=f"small {name}", extensions=["hstore"])


def used(cluster: Cluster, databases: Databases, name: str) -> None:
    """With two users, and tables of both."""
    made(cluster, databases, name)
    for user in (f"{name}_user", f"{name}_other"):
        with enter(cluster, name, user, databases.add_user(name, user)) as connection:
            connection.execute(f"CREATE TABLE of_{user[-5:]} (id int); SET ROLE NONE".encode())
            connection.execute(f"CREATE TABLE own_of_{user[-5:]} (id int)".encode())


def nothing(cluster: Cluster, databases: Databases, name: str) -> None:
    pass


STEPS: dict[str, tuple[Callable[[Cluster, Databases, str], None], Callable[[Databases, str], object]]] = {
    "create": (
        nothing,
        lambda databases, name: databases.create(
            name, LIMITS, holder=f"small {name}", extensions=["hstore", "citext"]
        ),
    ),
    "copy": (
        nothing,
        lambda databases, name: [
            *databases.copy(TEMPLATE, name, LIMITS, holder=f"restored {name}", extensions=["citext"])
        ],
    ),
    "change": (
        made,
        lambda databases, name: databases.change(
            name, MORE, holder=f"large {name}", extensions=["citext", "pg_trgm"]
        ),
    ),
    "add_user": (made, lambda databases, name: databases.add_user(name, f"{name}_user")),
    "remove_user": (used, lambda databases, name: databases.remove_user(name, f"{name}_user")),
    "drop": (used, lambda databases, name: databases.drop(name)),
}
"""What is there before, and what is done."""


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_was_killed_after_any_statement_is_done_by_repeating_it(
    step: str, cluster: Cluster, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, do = STEPS[step]
    expected: dict[str, list[Row]] | None = None
    for statements in range(1, 100):
        name = f"db_{uuid4().hex}"
        try:
            prepare(cluster, databases, name)
            with crashing_after(statements, monkeypatch) as executed:
                try:
                    do(databases, name)
                    died = False
                except Crash:
                    died = True
            do(databases, name)
            found = state_of(cluster, name)
        finally:
            databases.drop(name)
        if expected is None:
            expected = uninterrupted(cluster, databases, step)
        assert found == expected, f"killed after {executed[-1]}"
        if not died:
            assert statements > 3
            return
    raise AssertionError("it never ends")


def uninterrupted(cluster: Cluster, databases: Databases, step: str) -> dict[str, list[Row]]:
    """What a step leaves that nothing befalls."""
    prepare, do = STEPS[step]
    name = f"db_{uuid4().hex}"
    try:
        prepare(cluster, databases, name)
        do(databases, name)
        return state_of(cluster, name)
    finally:
        databases.drop(name)


def test_nobody_enters_a_database_before_it_is_closed_to_others(
    cluster: Cluster, databases: Databases, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crashing_after(100, monkeypatch) as executed, suppress(Crash):
        databases.create(name, LIMITS, holder=name)
    created = next(n for n, statement in enumerate(executed, 1) if "CREATE DATABASE" in str(statement))
    databases.drop(name)
    with crashing_after(created, monkeypatch), suppress(Crash):
        databases.create(name, LIMITS, holder=name)
    assert cluster.ask("SELECT datallowconn FROM pg_database WHERE datname = %s", name) == [(False,)]


def test_a_database_whose_drop_was_interrupted_is_made_anew(
    cluster: Cluster, databases: Databases, name: str, user: str
) -> None:
    cluster.ask("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", name)
    databases.create(name, LIMITS, holder=name)
    enter(cluster, name, user, databases.add_user(name, user)).close()


# Names


def test_whatever_ids_are_names_are_valid_and_never_the_same() -> None:
    long = "x" * 300
    ids = [
        *("i1", "I1", "i1 ", " i1", "i", "1", "ı1", "i\u03071", "", "\0", "\0\0", "\ud800", "\udcff"),
        *(long, long + "x", long[:-1] + "y", "y" + long, long[:63], long[:62], long[:64], long.upper()),
        *("'; DROP DATABASE postgres; --", '"; DROP ROLE broker; --', "%s", "{}", "\\", "../..", "a/b", "🐘"),
    ]
    names = [database_of(one) for one in ids] + [login_of(one, other) for one in ids for other in ids]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 63 and name.isidentifier() and name.isascii() for name in names)


def test_a_name_is_the_same_for_ever() -> None:
    """Another one would lose every database that there is."""
    assert database_of("orders") == "db_dqlivwya2ieoil4tgfcst4p2tq"
    assert login_of("orders", "shop") == "db_dqlivwya2ieoil4tgfcst4p2tq_rwiaduzmnjyd3fmsdj3rcucq6m"
