#!/usr/bin/env bats
# What changes while a rotation is under way: declarations, windows, signals, a process that was stopped.
load rules

waiting_in_overlap() {
  OVERLAP=1h
  ready
  rotor_run 0 rotate "$ID"
  waiting_for overlap
}
second_file() { printf 'PGUSER=%s\nPGPASSWORD=%s\n' "$(user_of env)" "$(pair_of env | cut -d' ' -f2)" >"$RIG/app/second"; }

@test "an added consumer joins before revoke" {
  waiting_in_overlap
  CONSUMERS=$(consumer orders-api env; consumer second second)
  OVERLAP=50ms declare_it
  rotor_run 0 rotate --continue
  user_is second orders_b
  [ "$(answer_of second)" = accepted ]
  [ "$(can_log_in orders_a)" = t ]
}

@test "an added consumer joins while a process waits" {
  OVERLAP=4s
  ready
  run_in_background rotate "$ID" --wait
  wait_for 20 user_is env orders_b
  CONSUMERS=$(consumer orders-api env; consumer second second)
  declare_it
  ended_with 0
  user_is second orders_b
  [ "$(versions revoked)" = 1 ]
}

@test "an added consumer that does not confirm keeps the old version alive" {
  waiting_in_overlap
  CONSUMERS=$(consumer orders-api env; consumer second second ', confirm: manual')
  declare_it
  rotor_run 0 rotate --continue
  waits_for receipt
  rotor_run 3 revoke "$ID@1"
  [ "$(can_log_in orders_a)" = t ]
}

@test "a removed consumer is dropped, and that is on record" {
  CONSUMERS=$(consumer orders-api env; consumer second second ', confirm: manual')
  ready
  rotor_run 0 rotate "$ID"
  waits_for receipt
  CONSUMERS=$(consumer orders-api env)
  declare_it
  rotor_run 0 rotate --continue --wait
  [ "$(versions current)" = 2 ]
  rotor_run 0 audit log
  grep -q '  confirm failed .* second' <<<"$output"
}

@test "the longer overlap wins: the frozen one" {
  waiting_in_overlap
  OVERLAP=50ms declare_it
  rotor_run 0 rotate --continue
  waits_for overlap
  [ "$(minutes_left)" -gt 50 ]
}

@test "the longer overlap wins: the new one" {
  waiting_in_overlap
  OVERLAP=3h declare_it
  rotor_run 0 rotate --continue
  waits_for overlap
  [ "$(minutes_left)" -gt 170 ]
}
minutes_left() { echo $((($(date -d "$(rotation until)" +%s) - $(date +%s)) / 60)); }

@test "a changed authority holds it, with both versions valid; the old declaration lets it go on" {
  waiting_in_overlap
  USERS='[orders_a, orders_c]'
  declare_it
  rotor_run 1 rotate --continue
  state_is held
  rotor_run 1 status --check
  [ "$(can_log_in orders_a)$(can_log_in orders_b)" = tt ]
  unset USERS
  declare_it
  rotor_run 0 rotate --continue
  waits_for overlap
}

@test "outside of the window it waits; --now needs a reason" {
  POLICY=", window: \"$(date -u -d '+2 days' +%a) 02:00-02:05\""
  ready
  [ "$(versions current)" = 1 ]
  rotor_run 0 verify
  rotor_run 0 rotate "$ID"
  waits_for window
  user_is env orders_a
  [ "$(can_log_in orders_b)" = f ]
  rotor_run 2 rotate "$ID" --now
  rotor_run 0 rotate "$ID" --now --reason 'incident 17'
  user_is env orders_b
  rotor_run 0 audit log
  output_has 'incident 17'
}

@test "the window closes before suspend: it waits with both valid" {
  OVERLAP=1s
  POLICY=", window: \"$(date -u -d '+2 days' +%a) 02:00-02:05\""
  ready
  rotor_run 0 rotate "$ID" --now --reason test --wait=confirmed
  sleep 1.2
  rotor_run 0 rotate --continue
  waits_for window
  [ "$(can_log_in orders_a)$(can_log_in orders_b)" = tt ]
}

@test "a freeze is waited out, by --due too" {
  POLICY=", rotate_every: 1ms, freeze: [{from: 2020-01-01T00:00:00Z, to: 2099-01-01T00:00:00Z, reason: audit}]"
  ready
  rotor_run 0 rotate "$ID"
  rotor_run 0 rotate --due
  user_is env orders_a
  [ "$(can_log_in orders_b)" = f ]
}

@test "a push in a freeze waits as a push: nothing else ever comes of it" {
  ready
  sed -i 's/^PGPASSWORD=.*/PGPASSWORD=changed/' "$RIG/app/env"
  POLICY=', freeze: [{from: 2020-01-01T00:00:00Z, to: 2099-01-01T00:00:00Z}]'
  declare_it
  rotor_run 0 push "$ID"
  waits_for window
  [ "$(rotation version)" = 1 ]
  rotor_run 0 rotate --continue "$ID" --now --reason 'the file is broken'
  [ "$(answer_of env)" = accepted ]
  [ "$(versions current)" = 1 ]
  [ "$(can_log_in orders_b)" = f ]
}

@test "SIGINT in a wait: 75 at once, and the next one goes on" {
  OVERLAP=1h
  ready
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for overlap'
  kill -INT "$run"
  wait_for 5 gone "$run"
  ended_with 75
  [ "$(can_log_in orders_a)$(can_log_in orders_b)" = tt ]
  rotor_run 0 rotate --continue
  waits_for overlap
}

@test "SIGINT in a drain: 75, and the next one ends it" {
  ready
  read -r user password <<<"$(pair_of env)"
  holds_open job "$user" "$password"
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for drain'
  kill -INT "$run"
  ended_with 75
  [ "$(can_log_in orders_a)" = t ]
  let_go orders_a
  rotor_run 0 rotate --continue --wait
  [ "$(versions revoked)" = 1 ]
}

@test "a process that is stopped holds its lease; when it goes on, nothing was done twice" {
  ready
  read -r user password <<<"$(pair_of env)"
  holds_open job "$user" "$password"
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for drain'
  kill -STOP "$run"
  rotor_run 75 rotate --continue "$ID"
  stderr_has "$run"
  sleep 8
  rotor_run 75 rotate --abort "$ID"
  kill -CONT "$run"
  let_go orders_a
  ended_with 0
  [ "$(versions current)" = 2 ]
  [ "$(can_log_in orders_a)" = f ]
  rotor_run 0 audit verify
  rotor_run 0 verify
}
