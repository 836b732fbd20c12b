#!/bin/sh
# Creates the role that responders and workers connect as, without any right: `migrate --grants` gives
# them. Runs when the database is new; for one that was there before:
#
#   docker compose exec postgres /docker-entrypoint-initdb.d/create-runtime-role.sh
set -eu
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" << 'SQL'
\set password `cat "${PASSWORD_FILE:-/run/secrets/postgres_runtime_password}"`
SELECT 'CREATE ROLE ext_scheduler_runtime LOGIN'
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'ext_scheduler_runtime') \gexec
ALTER ROLE ext_scheduler_runtime PASSWORD :'password';
SQL
