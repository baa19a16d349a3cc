-- What the broker needs of a server. A superuser runs it once.

-- It makes databases and roles, and is no superuser: so it has no more rights than that.
CREATE ROLE broker LOGIN CREATEDB CREATEROLE;
-- Where it drops a database, autovacuum may be at work.
GRANT pg_signal_backend TO broker;

-- Where brokerkit remembers.
CREATE DATABASE broker OWNER broker;

-- Unless told, every user may enter every database. Those of the broker may enter their own.
REVOKE ALL ON DATABASE broker, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO broker;
