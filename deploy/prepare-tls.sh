#!/bin/sh
# Makes a certificate authority and one certificate per server for compose.tls.yaml, in
# deploy/secrets/tls; what is there stays. The authority's key is needed for further servers only.
#
#   deploy/prepare.sh && deploy/prepare-tls.sh
set -eu
directory=${1:-$(dirname "$0")/secrets}
umask 022
mkdir -p "$directory/tls/nats" "$directory/tls/postgres" "$directory/tls/public"
chmod 700 "$directory"
cd "$directory"
for url in database_url database_url_owner
do
  sed 's#$#?sslmode=verify-full\&sslrootcert=/etc/ext-scheduler/tls/ca.crt#' "$url" > "${url}_tls"
done
[ ! -s tls/public/ca.crt ] || { echo "certificates are in $directory/tls"; exit 0; }

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
  -subj "/CN=ext-scheduler authority" -keyout tls/ca.key -out tls/public/ca.crt 2> /dev/null
certificate() { # directory, names
  names=$2
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
    -subj "/CN=$1" -keyout "tls/$1/server.key" -out "tls/$1/server.csr" 2> /dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" > "tls/$1/extensions"
  openssl x509 -req -in "tls/$1/server.csr" -CA tls/public/ca.crt -CAkey tls/ca.key \
    -CAcreateserial -days 825 -extfile "tls/$1/extensions" -out "tls/$1/server.crt" 2> /dev/null
  rm "tls/$1/server.csr" "tls/$1/extensions"
  cp tls/public/ca.crt "tls/$1/ca.crt"
  # Readable for a container's user, as all of deploy/secrets; the directory around is not.
  chmod 644 "tls/$1/server.key"
}
certificate nats DNS:nats-1,DNS:nats-2,DNS:nats-3,DNS:localhost,IP:127.0.0.1
certificate postgres DNS:postgres
echo "certificates are in $directory/tls"
