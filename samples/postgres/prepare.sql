-- Prepares a server for the broker. Run it once, as a superuser.

-- The broker's role can create databases and roles. It is not a superuser.
CREATE ROLE broker LOGIN CREATEDB CREATEROLE;
-- Lets the broker terminate autovacuum in a database that it drops.
GRANT pg_signal_backend TO broker;

-- The database of brokerkit's store.
CREATE DATABASE broker OWNER broker;

-- By default, every user can connect to every database. The broker's users may connect only to their own.
REVOKE ALL ON DATABASE broker, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE postgres TO broker;
