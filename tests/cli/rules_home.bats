#!/usr/bin/env bats
# The world is not as the record says, or the home is not where it was: what verify finds, and what is refused.
load rules

rotated() {
  ready
  rotor_run 0 rotate "$ID" --wait
  rotor_run 0 verify
}

@test "verify: the password was changed by hand" {
  rotated
  rig_quiet_sql "ALTER ROLE orders_b PASSWORD 'by hand'"
  rotor_run 1 verify
  [ "$(findings)" = current-refused ]
  rotor_run 3 rotate "$ID" --wait
  [ "$(log_in orders_b 'byhand')" = refused ]
  [ "$(can_log_in orders_a)" = f ]
}

@test "verify: the role is gone" {
  rotated
  rig_sql 'DROP ROLE orders_b'
  rotor_run 1 verify
  [[ " $(findings) " == *' gone '* ]]
  rotor_run 3 rotate "$ID" --wait
}

@test "verify: a revoked role can log in again" {
  rotated
  rig_quiet_sql "ALTER ROLE orders_a LOGIN PASSWORD '$CANARY'"
  rotor_run 1 verify
  [ "$(findings)" = revoked-accepted ]
  nowhere "$CANARY" "$H"
}

@test "verify: the mark is another home's, or gone" {
  rotated
  rig_sql "COMMENT ON ROLE orders_b IS 'rotor: home=01J00000000000000000000000 version=2 rotation=01J00000000000000000000001 state=held'"
  [ "$(findings)" = foreign ]
  rotor_run 3 rotate "$ID" --wait
  rig_sql 'COMMENT ON ROLE orders_b IS NULL'
  [ "$(findings)" = foreign ]
  rotor_run 3 rotate "$ID" --wait
  rotor_run 0 rotate "$ID" --wait --accept-drift
  rotor_run 0 verify
}

@test "a stranger's lines in the comment stay" {
  rig_sql "COMMENT ON ROLE orders_a IS 'team orders, see the wiki'"
  rig_sql "COMMENT ON ROLE orders_b IS E'first line\n\nlast line'"
  rotated
  rotor_run 0 rotate "$ID" --wait
  rig_sql "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'orders_a'" | grep -qx 'team orders, see the wiki'
  [ "$(rig_sql "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = 'orders_b'" | head -3)" = $'first line\n\nlast line' ]
}

@test "verify: the consumer's file was changed" {
  rotated
  sed -i 's/^PGPASSWORD=.*/PGPASSWORD=changed/' "$RIG/app/env"
  rotor_run 1 verify
  [ "$(findings)" = lacks-current ]
  output_has "rotor push $ID"
  rm "$RIG/app/env"
  [ "$(findings)" = lacks-current ]
  rotor_run 0 push "$ID"
  rotor_run 0 verify
}

@test "verify: due is a warning, max_age an error" {
  POLICY=', rotate_every: 1ms'
  rotated
  rotor_run 0 verify
  output_has overdue
  POLICY=', rotate_every: 1ms, max_age: 1ms'
  declare_it
  rotor_run 1 verify
  [ "$(findings)" = max-age ]
}

@test "verify: the log was altered" {
  rotated
  python3 - "$H/state.db" <<'E'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
tables = [t for t, in db.execute("select name from sqlite_master where type = 'table'")]
name = next(t for t in tables if t.startswith("leaf") or t == "leaves" or t == "log")
column = next(c[1] for c in db.execute(f"pragma table_info({name})") if c[2].upper() in ("BLOB", "TEXT"))
n = db.execute(f"update {name} set {column} = replace({column}, 'init', 'INIT')").rowcount
assert n > 0
db.commit()
E
  run timeout 60 "$ROTOR_BIN" -C "$H" verify
  [ "$status" != 0 ]
  run timeout 60 "$ROTOR_BIN" -C "$H" audit verify
  [ "$status" = 1 ]
}

@test "verify: the server is not there: 75" {
  rotated
  RIG_PORT=$(free_port) declare_it
  rotor_run 75 verify
}

# On another machine: the same files, another /etc/machine-id.
elsewhere() { # STATUS ARGUMENT...
  local wanted=$1 status=0 own=()
  shift
  [ "$(id -u)" = 0 ] || own=(--map-current-user --keep-caps)
  echo 00112233445566778899aabbccddeeff >"$RIG/machine-id"
  # Below a changed root `/` is no mount point; what is mounted there is private already.
  # shellcheck disable=SC2016
  timeout 60 unshare -m --propagation unchanged "${own[@]}" sh -c '[ -e /etc/machine-id ] || exit 99
    mount --make-rprivate / 2>/dev/null || ! mountpoint -q / || exit 98
    mount --bind "$1" /etc/machine-id && shift && exec "$@"' - "$RIG/machine-id" "$ROTOR_BIN" -C "$H" "$@" \
    >"$RIG/out" 2>"$RIG/err" || status=$?
  [ "$status" = "$wanted" ] || { echo "exit $status, wanted $wanted"; cat "$RIG/out" "$RIG/err"; return 1; }
}

@test "a home that was copied to another machine only looks, until it is adopted" {
  rotated
  elsewhere 3 rotate "$ID" --wait
  grep -q 'home adopt' "$RIG/err"
  elsewhere 3 rotate --due
  elsewhere 3 push "$ID"
  elsewhere 3 revoke "$ID@1"
  elsewhere 0 inventory list
  elsewhere 0 audit verify
  elsewhere 1 verify
  elsewhere 2 home adopt
  elsewhere 0 home adopt --reason 'the old host is gone'
  elsewhere 0 verify
  elsewhere 0 rotate "$ID" --wait
  user_is env orders_a
  elsewhere 0 audit log
  grep -q 'the old host is gone' "$RIG/out"
  rotor_run 3 rotate "$ID" --wait
}

@test "an old backup of the home: found by the log's own record, adopted, and no slot is taken by mistake" {
  ready
  rotor_run 0 rotate "$ID" --wait
  cp -a "$H" "$RIG/backup"
  rotor_run 0 rotate "$ID" --wait
  cp -p "$H/audit/checkpoint" "$RIG/checkpoint"
  rm -rf "$H" && mv "$RIG/backup" "$H"
  cp -p "$RIG/checkpoint" "$H/audit/checkpoint"
  rotor_run 3 rotate "$ID" --wait
  stderr_has 'home adopt'
  rotor_run 1 verify
  rotor_run 0 home adopt --reason 'disk failure'
  rotor_run 3 rotate "$ID" --wait
  [ "$(answer_of env)" = accepted ]
  rotor_run 3 rotate "$ID" --wait --accept-drift
  [ "$(answer_of env)" = accepted ]
  rotor_run 0 inventory import "$ID" --from-consumer
  rotor_run 0 rotate "$ID" --wait --accept-drift
  [ "$(answer_of env)" = accepted ]
  rotor_run 0 verify
}

@test "two homes on one pair: the second one touches nothing" {
  rotated
  H=$RIG/other
  empty_home
  rotor_run 3 rotate "$ID" --wait
  rotor_run 0 inventory import "$ID" --from-consumer
  rotor_run 3 rotate "$ID" --wait
  stderr_has orders_b
  user_is env orders_b
  [ "$(answer_of env)" = accepted ]
  [ "$(can_log_in orders_a)" = f ]
  rm -rf "$RIG/other"
}

@test "two homes at the same moment: one of them wins, nobody is locked out" {
  ready
  rm -rf "$RIG/other"
  H=$RIG/other
  ready
  H=$RIG/home
  rig_background one timeout 60 "$ROTOR_BIN" -C "$RIG/home" rotate "$ID" --wait 2>"$RIG/one.err"
  rig_background two timeout 60 "$ROTOR_BIN" -C "$RIG/other" rotate "$ID" --wait 2>"$RIG/two.err"
  good=0
  for p in "$one" "$two"; do
    if wait "$p"; then good=$((good + 1)); fi
  done
  RIG_PIDS=()
  [ "$good" = 1 ]
  [ "$(answer_of env)" = accepted ]
  rm -rf "$RIG/other"
}

# ---- how rotor itself logs in

@test "auth by a command, and what happens when it fails" {
  printf '#!/bin/sh\ncat %s\n' "$RIG/manager" >"$RIG/give"
  chmod 755 "$RIG/give"
  AUTH="{command: [$RIG/give]}"
  rotated
  printf '#!/bin/sh\nexit 1\n' >"$RIG/give"
  run timeout 60 "$ROTOR_BIN" -C "$H" rotate "$ID" --wait
  [ "$status" != 0 ]
  user_is env orders_b
}

@test "auth by a descriptor" {
  AUTH='{fd: 9}'
  "$ROTOR_BIN" -q -C "$H" init
  declare_it
  rotor_run 0 inventory import "$ID" --from-consumer 9<"$RIG/manager"
  rotor_run 0 rotate "$ID" --wait 9<"$RIG/manager"
  user_is env orders_b
  run timeout 60 "$ROTOR_BIN" -C "$H" rotate "$ID" --wait 9<&-
  [ "$status" != 0 ]
  user_is env orders_b
}

@test "auth by a list: tried in order" {
  echo wrong >"$RIG/wrong"
  AUTH="[{file: $RIG/wrong}, {file: $RIG/absent}, {file: $RIG/manager}]"
  rotated
  [ "$(versions current)" = 2 ]
}

# The manager is a secret of this home, rotated by the superuser through the socket.
managed() { # [RECEIPT]
  local receipt=${1:-', confirm: {command: [/bin/true]}'}
  AUTH='{secret: admin}'
  MORE_SECRETS="  admin:
    policy: short
    accept_outage: true
    authority: {provider: postgres, url: \"postgresql://admin@/postgres?host=$RIG_SOCKET&port=$RIG_PORT\", users: [rotor]}
    consumers: [{name: m, file: $RIG/app/manager, format: raw$receipt}]"
  empty_home
  rotor inventory import admin <"$RIG/manager"
  rotor inventory import "$ID" --from-consumer
}

@test "auth by a secret that is rotated itself" {
  managed
  rotor_run 0 rotate "$ID" --wait
  user_is env orders_b
  old=$(cat "$RIG/manager")
  rotor_run 0 rotate admin --wait
  [ "$(log_in rotor "$old")" = refused ]
  [ "$(log_in rotor "$(cat "$RIG/app/manager")")" = accepted ]
  rotor_run 0 rotate "$ID" --wait
  user_is env orders_a
  rotor_run 0 verify
}

@test "manager and dependant in one run" {
  managed
  rotor_run 0 rotate --jobs 2 "$ID" admin --wait
  user_is env orders_b
  [ "$(log_in rotor "$(cat "$RIG/app/manager")")" = accepted ]
  rotor_run 0 verify
}

@test "the manager changes while its dependant waits" {
  OVERLAP=1h
  managed
  rotor_run 0 rotate "$ID" --wait=confirmed
  rotor_run 0 rotate admin --wait
  rotor_run 0 revoke "$ID@1"
  [ "$(can_log_in orders_a)" = f ]
  rotor_run 0 verify
}

@test "a manager with one slot waits for its receipt: the new password is what its dependants log in with" {
  managed ', confirm: manual'
  rotor_run 0 rotate admin
  [ "$(log_in rotor "$(cat "$RIG/manager")")" = refused ]
  rotor_run 0 rotate "$ID" --wait
  user_is env orders_b
  rotor_run 0 rotate --confirm m --wait admin
  rotor_run 0 verify
}

@test "self: a role that rotates itself" {
  USERS='[rotor]'
  AUTH=self
  SECRET='    accept_outage: true'
  CONSUMERS="      - {name: m, file: $RIG/app/manager, format: raw, confirm: {command: [/bin/true]}}"
  empty_home
  cp "$RIG/manager" "$RIG/app/manager"
  rotor_run 0 inventory import "$ID" <"$RIG/manager"
  rotor_run 0 rotate "$ID" --wait
  rotor_run 0 rotate "$ID" --wait
  [ "$(versions current)" = 3 ]
  [ "$(log_in rotor "$(cat "$RIG/app/manager")")" = accepted ]
  [ "$(log_in rotor "$(cat "$RIG/manager")")" = refused ]
}
