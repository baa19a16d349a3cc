-- An example of what the plan `restored` copies. The role `broker` runs it.

-- All that is in a template belongs to a role that owns nothing else; in a copy, it goes to the copy's owner.
SET createrole_self_grant = 'set, inherit';
CREATE ROLE shop_template_owner NOLOGIN;
CREATE DATABASE shop_template;
REVOKE ALL ON DATABASE shop_template FROM PUBLIC;

\connect shop_template
ALTER SCHEMA public OWNER TO shop_template_owner;
SET ROLE shop_template_owner;
CREATE TABLE products (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, price numeric NOT NULL);
INSERT INTO products (name, price) SELECT 'product ' || n, n % 100 FROM generate_series(1, 100000) AS n;
RESET ROLE;

-- Nobody may be connected to a database while it is copied.
\connect postgres
ALTER DATABASE shop_template ALLOW_CONNECTIONS false;
