#!/bin/sh
# Starts nats-server with the passwords that are in files; the configuration reads them from the
# environment. NATS_CLUSTER names the servers of the cluster, as "host:port host:port ...".
# Arguments are the server's.
set -eu
secrets=${SECRETS_DIRECTORY:-/run/secrets}
for user in SERVICE RUNNER OPERATOR PLATFORM CONSOLE SYS ROUTE; do
  name=$(echo "$user" | tr '[:upper:]' '[:lower:]')
  password=$(cat "$secrets/nats_${name}_password")
  [ -n "$password" ] || { echo "nats_${name}_password is empty" >&2; exit 1; }
  export "EXT_SCHEDULER_NATS_${user}_PASSWORD=$password"
done
routes=
for address in $NATS_CLUSTER; do
  routes="$routes${routes:+, }\"nats://route:$EXT_SCHEDULER_NATS_ROUTE_PASSWORD@$address\""
done
export "EXT_SCHEDULER_NATS_ROUTES=[$routes]"
exec nats-server "$@"
