#!/usr/bin/env bats
# How an old version ends, or does not: one slot, several endpoints, drain, soak, failures, revoke.
load rules

drained_by() { # a session of version 1 in the way of the drain
  read -r user password <<<"$(pair_of env)"
  holds_open job "$user" "$password"
}

@test "a single role needs accept_outage" {
  USERS='[orders_a]'
  ready
  rotor_run 3 rotate "$ID" --wait
  stderr_has accept_outage
  user_is env orders_a
  [ "$(answer_of env)" = accepted ]
}

@test "a single role, outage accepted" {
  USERS='[orders_a]'
  SECRET='    accept_outage: true'
  ready
  old=$(pair_of env)
  rotor_run 0 rotate "$ID" --wait
  [ "$(versions current)" = 2 ]
  [ "$(pair_of env)" != "$old" ]
  [ "$(answer_of env)" = accepted ]
  # shellcheck disable=SC2086
  [ "$(log_in $old)" = refused ]
  rotor_run 0 verify
}

@test "a single role goes back: the old password is put again" {
  USERS='[orders_a]'
  SECRET='    accept_outage: true'
  CONSUMERS=$(consumer one env ', confirm: manual')
  ready
  old=$(pair_of env)
  rotor_run 0 rotate "$ID"
  waits_for receipt
  new=$(pair_of env)
  # shellcheck disable=SC2086
  [ "$(log_in $old)" = refused ]
  rotor_run 0 rotate --abort
  [ "$(pair_of env)" = "$old" ]
  rotor_run 0 rotate --confirm one --wait
  # shellcheck disable=SC2086
  [ "$(log_in $old)" = accepted ]
  # shellcheck disable=SC2086
  [ "$(log_in $new)" = refused ]
  [ "$(versions current)" = 1 ]
  rotor_run 0 verify
}

# A second server that accepts the same roles: rotor changes the first one only, so here it is told by the test.
second_server() {
  SECOND_PORT=$(free_port)
  (PEERS=$RIG/q PGPORT_=$SECOND_PORT "$TOP/tests/peers/postgres.sh" start 3>&-)
  second_sql 'CREATE DATABASE orders' 
  second_quiet "CREATE ROLE orders_a LOGIN; CREATE ROLE orders_b LOGIN;
    CREATE ROLE rotor LOGIN CREATEROLE PASSWORD '$(cat "$RIG/manager")'; GRANT pg_read_all_stats, pg_signal_backend TO rotor;"
  copy_roles
  AUTHORITY=", endpoints: [\"postgresql://rotor@127.0.0.1:$SECOND_PORT/orders\"]"
}
second_sql() { psql -XAtq -v ON_ERROR_STOP=1 -h "$RIG/q/pg15" -p "$SECOND_PORT" -U admin -d postgres -c "$1"; }
second_quiet() { printf 'SET log_statement = none;\n%s\n' "$1" | psql -XAtq -v ON_ERROR_STOP=1 -h "$RIG/q/pg15" -p "$SECOND_PORT" -U admin -d postgres; }
# copy_roles   what replication would do
copy_roles() {
  rig_sql "SELECT format('ALTER ROLE %I %s PASSWORD %L;', rolname, case when rolcanlogin then 'LOGIN' else 'NOLOGIN' end, rolpassword)
    FROM pg_authid WHERE rolname LIKE 'orders__'" >"$RIG/roles.sql"
  second_quiet "$(cat "$RIG/roles.sql")" 
}
replicate() {
  while sleep 0.1; do copy_roles 2>/dev/null || :; done
}
no_second_server() { [ ! -d "$RIG/q" ] || (PEERS=$RIG/q PGPORT_=$SECOND_PORT "$TOP/tests/peers/postgres.sh" stop 3>&-); }
teardown() {
  rig_quiet
  no_second_server
}

@test "a further endpoint that does not follow: never handed out, rolled back" {
  second_server
  ready
  rotor_run 1 rotate "$ID" --wait
  user_is env orders_a
  [ "$(can_log_in orders_b)" = f ]
}

@test "two servers: a session of the old version on the second one holds the drain" {
  second_server
  rig_background copying replicate
  DRAIN=60s
  ready
  read -r user password <<<"$(pair_of env)"
  PGPASSWORD=$password rig_background job psql -XAtq "host=127.0.0.1 port=$SECOND_PORT dbname=orders user=$user" -c 'select pg_sleep(100)'
  wait_for 10 on_second
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for drain'
  sleep 1
  [ "$(can_log_in orders_a)" = t ]
  second_sql "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'orders_a'"
  ended_with 0
  [ "$(versions revoked)" = 1 ]
  [ "$(answer_of env)" = accepted ]
}
on_second() { [ "$(second_sql "select count(*) from pg_stat_activity where usename = 'orders_a'")" = 1 ]; }

@test "an endpoint that nobody answers: 75 or failed, and nothing was begun" {
  AUTHORITY=", endpoints: [\"postgresql://rotor@127.0.0.1:$(free_port)/orders\"]"
  ready
  rotor_run 75 rotate "$ID" --wait
  user_is env orders_a
  [ "$(can_log_in orders_b)" = f ]
}

@test "an old session that was there before the soak restores the old one and drains anew" {
  SOAK=3s
  ready
  drained_by
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for drain'
  [ "$(can_log_in orders_a)" = t ]
  let_go orders_a
  wait_for 20 cannot_log_in orders_a
  ended_with 0
}
cannot_log_in() { [ "$(can_log_in "$1")" = f ]; }

@test "--abort in the soak restores the old one at once" {
  SOAK=1h
  ready
  old=$(pair_of env)
  rotor_run 0 rotate "$ID" --wait=confirmed
  waiting_for soak
  [ "$(can_log_in orders_a)" = f ]
  [ "$(versions suspended)" = 1 ]
  rotor_run 0 rotate --abort --wait --reason 'the reports are empty'
  rotor_run 0 audit log
  output_has 'the reports are empty'
  [ "$(can_log_in orders_a)" = t ]
  [ "$(pair_of env)" = "$old" ]
  [ "$(answer_of env)" = accepted ]
  [ "$(can_log_in orders_b)" = f ]
  rotor_run 0 verify
}

@test "drain: on_timeout hold, and --continue drains anew" {
  DRAIN=1s
  ready
  drained_by
  rotor_run 1 rotate "$ID" --wait
  state_is held
  [ "$(sessions_of orders_a)" = 1 ]
  let_go orders_a
  rotor_run 0 rotate --continue --wait
  [ "$(versions revoked)" = 1 ]
}

@test "drain: on_timeout revoke ends it and its session" {
  DRAIN="1s, on_timeout: revoke"
  ready
  drained_by
  rotor_run 0 rotate "$ID" --wait
  [ "$(versions revoked)" = 1 ]
  [ "$(sessions_of orders_a)" = 0 ]
  [ "$(can_log_in orders_a)" = f ]
}

@test "on_failure hold: both stay valid, and the command says what comes next" {
  POLICY=', on_failure: hold'
  CONFIRM=300ms
  CONSUMERS=$(consumer one env ', confirm: {command: [/bin/false]}')
  ready
  rotor_run 1 rotate "$ID" --wait
  state_is held
  user_is env orders_b
  [ "$(can_log_in orders_a)$(can_log_in orders_b)" = tt ]
  stderr_has 'rotor rotate --abort'
  rotor_run 1 verify
  output_has held
}

@test "on_failure rollback with a consumer that confirms neither: held, both valid" {
  CONFIRM=300ms
  CONSUMERS=$(consumer one env ', confirm: {command: [/bin/false]}')
  ready
  rotor_run 1 rotate "$ID" --wait
  state_is held
  user_is env orders_a
  [ "$(can_log_in orders_a)$(can_log_in orders_b)" = tt ]
}

@test "revoke in the overlap: refused with a session, done without" {
  OVERLAP=1h
  ready
  rotor_run 0 rotate "$ID" --wait=confirmed
  waits_for overlap
  drained_by_old
  rotor_run 3 revoke "$ID@1"
  [ "$(can_log_in orders_a)" = t ]
  [ "$(sessions_of orders_a)" = 1 ]
  rotor_run 3 revoke "$ID@2"
  rotor_run 2 revoke "$ID@7"
  let_go orders_a
  rotor_run 0 revoke "$ID@1"
  [ "$(versions revoked)" = 1 ]
  [ "$(can_log_in orders_a)" = f ]
  [ "$(answer_of env)" = accepted ]
  rotor_run 2 revoke "$ID@1"
}
# a session of version 1 after the file has moved on
drained_by_old() {
  rig_quiet_sql "ALTER ROLE orders_a PASSWORD 'old'"
  holds_open job orders_a old
}

@test "revoke in the overlap by force: a reason, and the session ends" {
  OVERLAP=1h
  ready
  rotor_run 0 rotate "$ID" --wait=confirmed
  drained_by_old
  rotor_run 2 revoke "$ID@1" --force
  rotor_run 0 revoke "$ID" --force --reason 'it leaked'
  [ "$(sessions_of orders_a)" = 0 ]
  [ "$(can_log_in orders_a)" = f ]
  [ "$(versions revoked)" = 1 ]
  rotor_run 0 audit log
  output_has 'it leaked'
}

@test "revoke without the receipt: 3; by force: done" {
  CONSUMERS=$(consumer one env ', confirm: manual')
  ready
  rotor_run 0 rotate "$ID"
  waits_for receipt
  rotor_run 3 revoke "$ID@1"
  [ "$(can_log_in orders_a)" = t ]
  rotor_run 0 revoke "$ID@1" --force --reason 'it leaked'
  [ "$(can_log_in orders_a)" = f ]
  [ "$(versions current)" = 2 ]
}

@test "after revoke there is no way back" {
  ready
  rotor_run 0 rotate "$ID" --wait
  rotor_run 2 rotate --abort
  rotor_run 2 revoke "$ID"
}
