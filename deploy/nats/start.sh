#!/bin/sh
# Starts nats-server with the passwords that are in files; the configuration reads them from the
# environment. Arguments are the server's.
set -eu
secrets=${SECRETS_DIRECTORY:-/run/secrets}
for user in SERVICE RUNNER OPERATOR PLATFORM SYS ROUTE; do
  name=$(echo "$user" | tr '[:upper:]' '[:lower:]')
  password=$(cat "$secrets/nats_${name}_password")
  [ -n "$password" ] || { echo "nats_${name}_password is empty" >&2; exit 1; }
  export "EXT_SCHEDULER_NATS_${user}_PASSWORD=$password"
done
exec nats-server "$@"
