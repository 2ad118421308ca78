#!/usr/bin/env bats
# rotate when things go wrong: the right exit status, the old password still good, no secret in any message.
load rig

@test "the server is not there: 75, and nothing was begun outside" {
  made
  RIG_URL_PORT=$(free_port)
  rig_declaration >"$RIG/orders.yaml"
  rotor_run 0 inventory apply "$RIG/orders.yaml"
  rotor_run 75 rotate "$ID" --wait
  [ "$(versions current)" = 1 ]
  [ "$(can_log_in orders_b)" = f ]
}

@test "no connection is free for the manager: 75, and nothing was begun" {
  served
  rig_sql 'ALTER ROLE rotor CONNECTION LIMIT 0'
  rotor_run 75 rotate "$ID" --wait
  stderr_has 'too many connections'
  [ "$(rotation state)" = none ]
  [ "$(rig_current)" = "$(first)" ]
  [ "$(can_log_in orders_b)" = f ]
  rig_sql 'ALTER ROLE rotor CONNECTION LIMIT -1'
  rotor_run 0 rotate "$ID" --wait
  [ "$(rig_failed)" = 0 ]
}

@test "another session holds the role's row: a statement time-out is tried again" {
  served
  rig_background lock psql -XAtq -h "$RIG_SOCKET" -p "$RIG_PORT" -U admin -d postgres \
    -c 'BEGIN; ALTER ROLE orders_b CONNECTION LIMIT -1; SELECT pg_sleep(99)'
  wait_for 10 rig_row_is_held
  rig_background run "$ROTOR" -C "$H" rotate "$ID" --wait 2>"$RIG/stderr"
  wait_for 40 grep -q 'issue .* failed for now: .*statement time-out (57014)' "$RIG/stderr"
  [ "$(rig_current)" = "$(first)" ]
  [ "$(can_log_in orders_b)" = f ]
  rig_sql "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(99)'" >"$RIG/ended"
  wait "$run"
  unset 'RIG_PIDS[-1]'
  [ "$(versions current)" = 2 ]
  [ "$(rig_failed)" = 0 ]
  [ "$(rig_plaintext "$H" "$RIG_LOG" "$RIG/stderr")" = 0 ]
}
rig_row_is_held() { [ "$(rig_sql "select count(*) from pg_stat_activity where query like '%pg_sleep(99)' and pid <> pg_backend_pid()")" = 1 ]; }

@test "wrong password of the manager: 1, and it is named nowhere" {
  served
  echo "$CANARY" >"$RIG/manager"
  rotor_run 1 rotate "$ID" --wait
  nowhere "$CANARY" "$H" "$RIG_LOG"
  read -r user password <<<"$(first)"
  [ "$(log_in "$user" "$password")" = accepted ]
}

@test "a missing right: 3, with the exact SQL" {
  served
  rig_sql 'REVOKE pg_signal_backend FROM rotor'
  rotor_run 3 rotate "$ID" --wait
  [[ $output$stderr == *'GRANT pg_signal_backend TO '*rotor* ]]
  [ "$(can_log_in orders_b)" = f ]
}

@test "a missing role: 3, with the exact SQL" {
  served
  rig_sql 'DROP ROLE orders_b'
  rotor_run 3 rotate "$ID" --wait
  [[ $output$stderr == *'CREATE ROLE '*orders_b* ]]
}

@test "VALID UNTIL in the past: 3 before anything happens" {
  served
  rig_sql "ALTER ROLE orders_b VALID UNTIL '2001-01-01'"
  rotor_run 3 rotate "$ID" --wait
  [ "$(rig_current)" = "$(first)" ]
}

@test "somebody uses the free role: 3, with what was seen" {
  served
  rig_quiet_sql "ALTER ROLE orders_b LOGIN PASSWORD '$CANARY'"
  PGPASSWORD=$CANARY rig_background other psql -XAtq "$(rig_conninfo) user=orders_b" -c 'select pg_sleep(30)'
  wait_for 5 rig_b_is_used
  rotor_run 3 rotate "$ID" --wait
  [ "$(rig_sql "select count(*) from pg_stat_activity where usename = 'orders_b'")" = 1 ]
  [ "$(log_in orders_b "$CANARY")" = accepted ]
}
rig_b_is_used() { [ "$(rig_sql "select count(*) from pg_stat_activity where usename = 'orders_b'")" = 1 ]; }

@test "the mark names another home: 3, and verify names it" {
  served
  rotor_run 0 rotate "$ID" --wait
  rig_sql "COMMENT ON ROLE orders_a IS 'rotor: home=01J00000000000000000000000 version=7 rotation=01J00000000000000000000001 state=held'"
  rotor_run 3 rotate "$ID" --wait
  [ "$(rig_current | cut -d' ' -f1)" = orders_b ]
  rotor_run 1 verify
}

@test "an old copy of the home does not overwrite what came after it" {
  served
  cp -a "$H" "$RIG/copy"
  rotor_run 0 rotate "$ID" --wait
  rm -rf "$H" && mv "$RIG/copy" "$H"
  rotor_run 3 rotate "$ID" --wait
  read -r user password <<<"$(rig_current)"
  [ "$(log_in "$user" "$password")" = accepted ]
  [ "$(rig_failed)" = 0 ]
}

@test "the new password never works: rolled back, 1, the old one in use" {
  # shellcheck disable=SC2016
  RIG_PROBE=', timeout: 1s, query: "select public.not_b()"'
  RIG_DB=orders rig_sql "CREATE FUNCTION public.not_b() RETURNS int LANGUAGE sql AS
    'select 1 / case when session_user = ''orders_b'' then 0 else 1 end'"
  served
  rotor_run 1 rotate "$ID" --wait
  [ "$(versions current)" = 1 ]
  [ "$(rotation state)" = none ]
  [ "$(rig_current)" = "$(first)" ]
  [ "$(can_log_in orders_b)" = f ]
  [ "$(rig_failed)" = 0 ]
}

@test "a consumer that never confirms: held, 1, both passwords good" {
  RIG_CONSUMER=', confirm: {command: [/bin/false]}'
  RIG_CONFIRM=500ms
  served
  rotor_run 1 rotate "$ID" --wait
  [ "$(rotation state)" = held ]
  sort -u "$RIG/records" | while read -r user password; do
    [ "$(log_in "$user" "$password")" = accepted ]
  done
  [ "$(rig_failed)" = 0 ]
  rotor_run 1 status --check
  output_has 'rotor rotate'
}

@test "health fails in the soak: the old one restored, held" {
  touch "$RIG/healthy"
  RIG_CONSUMER=", health: [{command: [/usr/bin/test, -e, $RIG/healthy]}]"
  RIG_SOAK=60s
  served
  rig_background run "$ROTOR" -C "$H" rotate "$ID" --wait 2>"$RIG/stderr"
  wait_for 20 rig_a_is_suspended
  rm "$RIG/healthy"
  status=0
  wait "$run" || status=$?
  unset 'RIG_PIDS[-1]'
  [ "$status" = 1 ]
  [ "$(rotation state)" = held ]
  [ "$(can_log_in orders_a)" = t ]
  read -r user password <<<"$(first)"
  [ "$(log_in "$user" "$password")" = accepted ]
}
rig_a_is_suspended() { [ "$(can_log_in orders_a)" = f ]; }

@test "a nightly job with the old password holds the drain" {
  served
  read -r user password <<<"$(first)"
  PGPASSWORD=$password rig_background job psql -XAtq "$(rig_conninfo) user=$user" -c 'select pg_sleep(60)'
  sed_declaration() { rig_declaration | sed 's/timeout: 60s}/timeout: 1s}/'; }
  sed_declaration >"$RIG/orders.yaml"
  rotor_run 0 inventory apply "$RIG/orders.yaml"
  rotor_run 1 rotate "$ID" --wait
  [ "$(rotation state)" = held ]
  [ "$(log_in "$user" "$password")" = accepted ]
  kill "$job"
}

@test "two at once: the second says who holds it; --due waits without a word" {
  RIG_OVERLAP=4s
  served
  rig_background run "$ROTOR" -C "$H" rotate "$ID" --wait 2>"$RIG/stderr"
  wait_for 10 rig_is_moved
  rotor_run 75 rotate "$ID"
  stderr_has "$run"
  rotor_run 0 rotate --due
  wait "$run"
  unset 'RIG_PIDS[-1]'
  [ "$(versions current)" = 2 ]
  [ "$(rig_failed)" = 0 ]
}
rig_is_moved() { [ "$(rig_current)" != "$(first)" ]; }

# Both versions are confirmed and in their overlap when the server goes, which is no reason to go back.
rig_in_overlap() { [ "$(rotation waits_for)" = overlap ]; }
rig_both_are_good() {
  [ "$(sort -u "$RIG/records" | wc -l)" = 2 ]
  sort -u "$RIG/records" | while read -r user password; do
    [ "$(log_in "$user" "$password")" = accepted ] || return
  done
}
rig_carried_on() {
  rotor_run 0 rotate --continue --wait
  [ "$(versions current)" = 2 ]
  [ "$(versions revoked)" = 1 ]
  read -r user password <<<"$(first)"
  [ "$(log_in "$user" "$password")" = refused ]
}

@test "the server goes in the overlap: held, both passwords good when it is back, and on it goes" {
  RIG_OVERLAP=5s
  served
  rig_background run "$ROTOR" -C "$H" rotate "$ID" --wait 2>"$RIG/stderr"
  wait_for 20 rig_in_overlap
  rig_peer stop
  status=0
  wait "$run" || status=$?
  unset 'RIG_PIDS[-1]'
  rig_peer again
  [ "$status" = 1 ]
  [ "$(rotation state)" = held ]
  rig_both_are_good
  rig_carried_on
}

@test "the manager's password is changed in the drain: held, and once put back on it goes" {
  RIG_QUIET=5s
  served
  rig_background run "$ROTOR" -C "$H" rotate "$ID" --wait 2>"$RIG/stderr"
  wait_for 20 rig_in_drain
  rig_quiet_sql "ALTER ROLE rotor PASSWORD '$CANARY';
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'rotor'" >"$RIG/ended"
  status=0
  wait "$run" || status=$?
  unset 'RIG_PIDS[-1]'
  [ "$status" = 1 ]
  [ "$(rotation state)" = held ]
  rig_both_are_good
  rig_quiet_sql "ALTER ROLE rotor PASSWORD '$(cat "$RIG/manager")'"
  rig_carried_on
  [ "$(rig_failed)" = 0 ]
}
rig_in_drain() { [ "$(rotation waits_for)" = drain ]; }
