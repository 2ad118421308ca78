# A rig: a throwaway PostgreSQL, a database with a pair of roles and its manager, a rotor home that rotates them, and a
# client that logs in all the time with what its file holds. To be sourced after base.sh. The caller sets
#   RIG      a folder from `scratch`
#   ROTOR    the program
#   PGVER_   "" for Debian's server, or 16, 17, 18
# and calls rig_end when it leaves, however it leaves.
# shellcheck shell=bash

RIG_PIDS=()
: "${PGVER_:=}"

# rig_tools   builds what the rig itself needs
rig_tools() {
  local tool flags
  read -ra flags < <(pkg-config --cflags --libs libpq)
  for tool in client procwatch; do
    cc -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -o "$RIG/$tool" "$TOP/tests/lib/$tool.c" "${flags[@]}" || return
  done
}

# The descriptor 3 is bats' own: a server that keeps it would keep bats waiting.
rig_peer() { PEERS=$RIG/p PGPORT_=$RIG_PORT PGVER_=$PGVER_ "$TOP/tests/peers/postgres.sh" "$1" 3>&-; }

# rig_server   starts the server; rig_sql then speaks to it as the superuser, over its socket
rig_server() {
  RIG_PORT=$(free_port)
  RIG_SOCKET=$RIG/p/pg${PGVER_:-15} RIG_LOG=$RIG_SOCKET/log
  rig_peer start
}
rig_sql() { psql -XAtq -v ON_ERROR_STOP=1 -h "$RIG_SOCKET" -p "$RIG_PORT" -U admin -d "${RIG_DB:-postgres}" -c "$1"; }
rig_random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
rig_conninfo() { echo "host=127.0.0.1 port=$RIG_PORT dbname=orders"; }

# rig_database   database, owner role, two log-in roles that act as the owner (the first one with a password), and the
# manager with the rights that the manual names. The first password lies where the application's file is.
rig_database() {
  local first manager
  first=$(rig_random) manager=$(rig_random)
  rig_sql 'CREATE ROLE orders_owner NOLOGIN' && rig_sql 'CREATE DATABASE orders OWNER orders_owner' &&
    rig_quiet_sql "CREATE ROLE orders_a LOGIN PASSWORD '$first' IN ROLE orders_owner;
      CREATE ROLE orders_b NOLOGIN IN ROLE orders_owner;
      ALTER ROLE orders_a SET ROLE orders_owner; ALTER ROLE orders_b SET ROLE orders_owner;
      CREATE ROLE rotor LOGIN CREATEROLE PASSWORD '$manager';
      GRANT pg_read_all_stats, pg_signal_backend TO rotor;" || return
  case $PGVER_ in
  1[6-9]) rig_sql 'GRANT orders_a, orders_b TO rotor WITH ADMIN TRUE, INHERIT FALSE, SET FALSE' || return ;;
  esac
  (umask 077 && echo "$manager" >"$RIG/manager" && mkdir -p "$RIG/app" &&
    printf '# orders\nPGUSER=orders_a\nPGPASSWORD=%s\nLISTEN=127.0.0.1:8080\n' "$first" >"$RIG/app/env")
}

# rig_fresh   the same anew on a server that has had one
rig_fresh() {
  rig_sql 'DROP DATABASE IF EXISTS orders WITH (FORCE)' &&
    rig_sql 'DROP ROLE IF EXISTS orders_a; DROP ROLE IF EXISTS orders_b; DROP ROLE IF EXISTS orders_owner;
      DROP ROLE IF EXISTS rotor' && rm -rf "$RIG/home" "$RIG/app" "$RIG/records" "$RIG/figures" && rig_database
}

# rig_quiet_sql SQL   on standard input and outside the server's log: these statements hold first passwords, which the
# search for plaintext would find there although rotor had no part in it
rig_quiet_sql() {
  printf 'SET log_statement = none; SET log_min_error_statement = panic;\n%s\n' "$1" |
    psql -XAtq -v ON_ERROR_STOP=1 -h "$RIG_SOCKET" -p "$RIG_PORT" -U admin -d postgres
}

# rig_declaration   the declaration, with waits that a test can sit out. RIG_SECRET is a further line of the secret,
# RIG_CONSUMER further keys of its consumer
rig_declaration() {
  cat <<E2
rotor: 1
policies:
  short:
    rotate_every: 30d
    probe: {successes: 2${RIG_PROBE:-}}
    confirm: {timeout: ${RIG_CONFIRM:-30s}}
    overlap: ${RIG_OVERLAP:-1s}
    drain: {quiet_for: ${RIG_QUIET:-1s}, sample: ${RIG_SAMPLE:-100ms}, timeout: 60s}
    soak: ${RIG_SOAK:-1s}
    retry: {deadline: ${RIG_RETRY:-20s}}
secrets:
  demo/orders-db:
    owner: team-orders
    policy: short
    ${RIG_SECRET:-}
    authority:
      provider: postgres
      url: "postgresql://rotor@127.0.0.1:${RIG_URL_PORT:-$RIG_PORT}/orders"
      auth: {file: $RIG/manager}
      users: [orders_a, orders_b]
    consumers:
      - {name: orders-api, provider: file, path: $RIG/app/env, format: env, map: {PGUSER: username, PGPASSWORD: password}${RIG_CONSUMER:-}}
E2
}

rig_rotor() { "$ROTOR" -C "$RIG/home" "$@"; }

# rig_home   makes the home, loads the declaration and takes the password in use as version 1
rig_home() {
  rig_rotor init && rig_declaration >"$RIG/orders.yaml" && rig_rotor inventory apply "$RIG/orders.yaml" &&
    rig_rotor inventory import demo/orders-db --from-consumer
}

# rig_unfinished   how many rotations have not ended
rig_unfinished() { rig_rotor --json status | python3 -c 'import json, sys; print(len(json.load(sys.stdin)["rotations"]))'; }

rig_background() { # PID-VARIABLE COMMAND...   ended by rig_end
  local -n rig_pid=$1
  shift
  "$@" 3>&- &
  rig_pid=$!
  RIG_PIDS+=("$rig_pid")
}

# rig_client   starts the client; rig_tried and rig_failed are its figures, rig_records all that its file ever held
rig_client() {
  # shellcheck disable=SC2034
  rig_background RIG_CLIENT "$RIG/client" run "$(rig_conninfo)" "$RIG/app/env" "$RIG/records" "$RIG/figures" 2>>"$RIG/client.err"
  wait_for 10 test -s "$RIG/figures"
}
rig_tried() { cut -d' ' -f1 "$RIG/figures"; }
rig_failed() { cut -d' ' -f2 "$RIG/figures"; }
rig_current() { sed -n 's/^PGUSER=//p;s/^PGPASSWORD=//p' "$RIG/app/env" | paste -sd' '; }

# rig_old_refused   tries every credential that was ever in use but the present one; prints `TRIED REFUSED`
rig_old_refused() {
  local old
  old=$(grep -vxF -- "$(rig_current)" "$RIG/records")
  [ -n "$old" ] || {
    echo 0 0
    return
  }
  "$RIG/client" try "$(rig_conninfo)" <<<"$old" 2>/dev/null | awk '{ n++ } /^refused$/ { r++ } END { print n + 0, r + 0 }'
}

# rig_plaintext PLACE...   in how many files below these places some password stands, in clear or as hex or base64
rig_plaintext() {
  local words=$RIG/words password
  (umask 077 && : >"$words")
  { cut -d' ' -f2 "$RIG/records"; sed -n 's/^PGPASSWORD=//p' "$RIG/app/env"; cat "$RIG/manager"; } | sort -u |
    while read -r password; do
      echo "$password"
      printf %s "$password" | od -An -tx1 | tr -d ' \n'
      echo
      printf %s "$password" | base64 -w0
      echo
    done >"$words"
  grep -rlaFf "$words" -- "$@" | tee "$RIG/found" | wc -l
}

# rig_quiet   ends what rig_background started
rig_quiet() {
  local p
  for p in "${RIG_PIDS[@]}"; do
    kill "$p" 2>/dev/null || :
    wait "$p" 2>/dev/null || :
  done
  RIG_PIDS=()
}

rig_end() {
  rig_quiet
  [ -z "${RIG_PORT:-}" ] || rig_peer stop || :
  [ -z "${RIG:-}" ] || rm -rf "$RIG"
}
