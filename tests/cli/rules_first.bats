#!/usr/bin/env bats
# The first rotation of a secret: plain, or with what is in use known before; and its way back.
load rules

# a pair that nobody has used yet
unused() {
  rig_quiet_sql 'ALTER ROLE orders_a NOLOGIN PASSWORD NULL'
  rm "$RIG/app/env"
}

@test "plain: nobody has ever used the pair" {
  unused
  empty_home
  rotor_run 0 rotate "$ID" --wait
  [ "$(versions current)" = 1 ]
  user_is env orders_a
  [ "$(stat -c %a "$RIG/app/env")" = 600 ]
  [ "$(answer_of env)" = accepted ]
  rotor_run 0 verify
  rotor_run 0 rotate "$ID" --wait
  user_is env orders_b
  [ "$(versions current)" = 2 ]
}

@test "--due never makes one" {
  unused
  empty_home
  rotor_run 0 rotate --due
  [ ! -e "$RIG/app/env" ]
  [ -z "$(versions current)" ]
  [ "$(can_log_in orders_a)" = f ]
}

@test "undo of a plain one removes the file that it made" {
  unused
  CONSUMERS=$(consumer orders-api env ', confirm: manual')
  empty_home
  rotor_run 0 rotate "$ID"
  waits_for receipt
  password=$(pair_of env | cut -d' ' -f2)
  rotor_run 0 rotate --abort --wait
  [ ! -e "$RIG/app/env" ]
  [ "$(can_log_in orders_a)" = f ]
  [ "$(log_in orders_a "$password")" = refused ]
  [ -z "$(versions current)" ]
  state_is none
}

@test "undo of a plain one puts a file back as it was" {
  unused
  printf 'LISTEN=127.0.0.1:8080\n# no database yet\n' >"$RIG/app/env"
  chmod 640 "$RIG/app/env"
  cp -a "$RIG/app/env" "$RIG/before"
  CONSUMERS=$(consumer orders-api env ', confirm: manual')
  empty_home
  rotor_run 0 rotate "$ID"
  user_is env orders_a
  rotor_run 0 rotate --abort --wait
  cmp "$RIG/before" "$RIG/app/env"
  [ "$(stat -c %a "$RIG/app/env")" = 640 ]
}

@test "a consumer's file names one of the pair: 3, with the two ways" {
  empty_home
  rotor_run 3 rotate "$ID" --wait
  stderr_has 'inventory import'
  stderr_has 'adopt'
  user_is env orders_a
  [ "$(answer_of env)" = accepted ]
  [ "$(can_log_in orders_b)" = f ]
}

@test "one of the pair has a session: 3, and the session stays" {
  read -r user password <<<"$(pair_of env)"
  rm "$RIG/app/env"
  holds_open job "$user" "$password"
  empty_home
  rotor_run 3 rotate "$ID" --wait
  [ "$(sessions_of orders_a)" = 1 ]
}

@test "import from the consumer takes it for version 1, once the server accepts it" {
  empty_home
  sed -i 's/^PGPASSWORD=.*/PGPASSWORD=wrong/' "$RIG/app/env"
  rotor_run 3 inventory import "$ID" --from-consumer
  [ -z "$(versions current)" ]
  rig_quiet_sql "ALTER ROLE orders_a PASSWORD 'wrong'"
  rotor_run 0 inventory import "$ID" --from-consumer
  [ "$(versions current)" = 1 ]
  rotor_run 0 rotate "$ID" --wait
  user_is env orders_b
  [ "$(log_in orders_a wrong)" = refused ]
}

legacy() {
  rig_quiet_sql "DROP ROLE IF EXISTS legacy; CREATE ROLE legacy LOGIN PASSWORD '$CANARY'"
  RIG_DB=orders rig_sql 'CREATE SCHEMA old AUTHORIZATION legacy'
  printf 'PGUSER=legacy\nPGPASSWORD=%s\n' "$CANARY" >"$RIG/app/env"
  rig_quiet_sql 'ALTER ROLE orders_a NOLOGIN PASSWORD NULL'
  SECRET='    adopt: {username: legacy, then: disable}'
}
@test "adopt needs accept_outage: its value is not known" {
  legacy
  empty_home
  rotor_run 3 rotate "$ID" --wait
  stderr_has accept_outage
  user_is env legacy
  rotor_run 3 rotate -n "$ID"
  [ "$(can_log_in legacy)" = t ]
}

@test "adopt: the legacy credential is drained and disabled, never dropped" {
  legacy
  holds_open job legacy "$CANARY"
  SECRET="$SECRET"$'\n    accept_outage: true'
  empty_home
  run_in_background rotate "$ID" --wait
  wait_for 20 user_is env orders_a
  sleep 0.5
  [ "$(can_log_in legacy)" = t ]
  [ "$(sessions_of legacy)" = 1 ]
  let_go legacy
  ended_with 0
  [ "$(can_log_in legacy)" = f ]
  [ "$(rig_sql "select rolpassword like 'SCRAM%' from pg_authid where rolname = 'legacy'")" = t ]
  [ "$(log_in legacy "$CANARY")" = refused ]
  [ "$(answer_of env)" = accepted ]
  [ "$(RIG_DB=orders rig_sql "select nspowner::regrole from pg_namespace where nspname = 'old'")" = legacy ]
  rotor_run 0 verify
  rotor_run 0 rotate "$ID" --wait
  user_is env orders_b
  [ "$(can_log_in legacy)" = f ]
}

@test "adopt: the way back is closed once a consumer has the new one" {
  legacy
  SECRET="$SECRET"$'\n    accept_outage: true'
  CONSUMERS=$(consumer orders-api env ', confirm: manual')
  empty_home
  rotor_run 0 rotate "$ID"
  waits_for receipt
  rotor_run 3 rotate --abort "$ID"
  user_is env orders_a
  [ "$(log_in legacy "$CANARY")" = accepted ]
  rotor_run 0 rotate --confirm orders-api --wait "$ID"
  [ "$(can_log_in legacy)" = f ]
}
