#!/bin/sh
# Makes the passwords and keys that compose.yaml mounts, in deploy/secrets; what is there stays.
#
#   PATH=$PWD/.venv/bin:$PATH deploy/prepare.sh
#
# The files are readable for everybody, because a container's user is not the one who made them; the
# directory around them is not. Keys are in directories of their own, one for each party: a
# rotation replaces files, and a container sees that only in a directory.
set -eu
directory=${1:-$(dirname "$0")/secrets}
umask 022
mkdir -p "$directory"
chmod 700 "$directory"
cd "$directory"

random() { # a letter first: NATS reads what begins with a digit as a number
  printf 's%s' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
}
password() {
  [ -s "$1" ] || random > "$1"
}
key() { # name, issuer, audience, further options
  name=$1 issuer=$2 audience=$3
  shift 3
  [ ! -s "$name/key.json" ] || return 0
  mkdir -p "$name" public
  ext-scheduler keys generate --private "$name/key.json" --public public/keys.json --add \
    --issuer "$issuer" --audience "$audience" "$@"
  chmod 644 "$name/key.json" public/keys.json
}

for name in postgres postgres_runtime grafana nats_service nats_runner nats_operator nats_platform nats_console \
  nats_sys nats_route
do
  password "${name}_password"
done
password callback_token
url() { # file, role, its password
  [ -s "$1" ] || printf 'postgresql://%s:%s@postgres:5432/ext_scheduler' "$2" "$3" > "$1"
}
url database_url_owner ext_scheduler "$(cat postgres_password)"
url database_url ext_scheduler_runtime "$(cat postgres_runtime_password)"
key runner runner host
key worker ext-scheduler runner
key operator operator admin --operator
key console console admin --operator
echo "passwords and keys are in $directory"
