-- Creates an example of a template for the plan `restored`. Run it as the role `broker`.

-- Everything in a template must belong to one role that owns nothing else. In a copy, the copy's owner takes over.
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

-- PostgreSQL cannot copy a database while clients are connected to it.
\connect postgres
ALTER DATABASE shop_template ALLOW_CONNECTIONS false;
