#!/usr/bin/env bats
# rotate: what its options do when all is well, and what it refuses as usage.
load rig

@test "usage errors are exit 2 and change nothing" {
  made
  rotor_run 2 rotate
  rotor_run 2 rotate "$ID" --due
  rotor_run 2 rotate --continue --abort
  rotor_run 2 rotate "$ID" --now
  rotor_run 2 rotate "$ID" --wait=never
  rotor_run 2 rotate "$ID" --jobs 0
  rotor_run 2 rotate --limit 1 "$ID"
  rotor_run 2 rotate --no-such-option "$ID"
  rotor_run 2 rotate no/such-secret
  [ "$(rotation state)" = none ]
}

@test "--dry-run prints the plan and changes nothing" {
  served
  before=$(sha256sum "$RIG/app/env"; rig_sql "SELECT oid, rolcanlogin, rolpassword, shobj_description(oid, 'pg_authid')
    FROM pg_authid WHERE rolname LIKE 'orders%' ORDER BY 1")
  rotor_run 0 --json rotate --dry-run "$ID"
  [ "$(json 'd["format"]')" = 1 ]
  [[ $(json 'd["plans"][0]["digest"]') =~ ^[0-9a-f]{64}$ ]]
  [ "$(json 'd["plans"][0]["slot"]')" = orders_b ]
  [ "$(json '(d["plans"][0]["version"], d["plans"][0]["previous"])')" = '(2, 1)' ]
  rotor_run 0 rotate -n "$ID"
  output_has orders_b
  [ "$before" = "$(sha256sum "$RIG/app/env"; rig_sql "SELECT oid, rolcanlogin, rolpassword,
    shobj_description(oid, 'pg_authid') FROM pg_authid WHERE rolname LIKE 'orders%' ORDER BY 1")" ]
  [ "$(rotation state)" = none ]
}

@test "--expect refuses any other plan" {
  served
  rotor_run 3 rotate "$ID" --wait --expect "$(printf '0%.0s' {1..64})"
  [ "$(versions current)" = 1 ]
  rotor_run 0 --json rotate -n "$ID"
  digest=$(json 'd["plans"][0]["digest"]')
  rotor_run 0 rotate "$ID" --wait --expect "$digest"
  [ "$(versions current)" = 2 ]
}

@test "a rotation, as one document" {
  served
  rotor_run 0 --json rotate "$ID" --wait --reason 'spring cleaning'
  [ "$(json 'd["format"]')" = 1 ]
  [ "$(json '[(r["secret"], r["state"], r["reason"], r["version"], r["previous"]) for r in d["rotations"]]')" = \
    "[('$ID', 'done', 'spring cleaning', 2, 1)]" ]
  [ "$(json 'sorted(set("""id secret reason actor state version previous waits_for until held_because next
    undo_until evidence steps""".split()) - set(d["rotations"][0]))')" = '[]' ]
  [ "$(json 'sorted(set("step target state class attempts started ended receipt error".split())
    - set(d["rotations"][0]["steps"][0]))')" = '[]' ]
  [ "$(json '[s
    for s in "authorize generate issue probe distribute confirm overlap drain suspend revoke prove close".split()
    if s not in [t["step"] for t in d["rotations"][0]["steps"] if t["state"] == "done"]]')" = '[]' ]
  [ "$(versions revoked)" = 1 ]
  read -r user password <<<"$(first)"
  [ "$(log_in "$user" "$password")" = refused ]
  read -r user password <<<"$(rig_current)"
  [ "$user" = orders_b ]
  [ "$(log_in "$user" "$password")" = accepted ]
  [ "$(rig_failed)" = 0 ]
  grep -qx 'LISTEN=127.0.0.1:8080' "$RIG/app/env"
  nowhere "$password" "$H" "$RIG_LOG"
  rotor_run 0 verify
  rotor_run 0 audit verify
}

@test "there and back: the pair alternates" {
  served
  rotor_run 0 rotate "$ID" --wait
  rotor_run 0 rotate "$ID" --wait
  [ "$(rig_current | cut -d' ' -f1)" = orders_a ]
  [ "$(versions current)" = 3 ]
  [ "$(rig_old_refused)" = '2 2' ]
}

@test "without --wait it ends at a long wait, and says what comes next" {
  RIG_OVERLAP=1h
  served
  rotor_run 0 rotate "$ID"
  [ "$(rotation state)" = waiting ]
  wait_for 20 continued_to overlap
  rotor_run 0 status
  output_has 'rotor rotate'
  rotor_run 0 status --check
  rotor_run 0 rotate --continue
  [ "$(rotation waits_for)" = overlap ]
  read -r user password <<<"$(first)"
  [ "$(log_in "$user" "$password")" = accepted ]
}

@test "--wait=confirmed ends when the consumer uses the new one" {
  RIG_OVERLAP=1h
  served
  rotor_run 0 rotate "$ID" --wait=confirmed
  [ "$(rotation waits_for)" = overlap ]
  [ "$(rig_current | cut -d' ' -f1)" = orders_b ]
}

@test "--abort goes back to the version before" {
  RIG_OVERLAP=6s
  served
  rotor_run 0 rotate "$ID"
  wait_for 20 continued_to overlap
  new=$(rig_current)
  rotor_run 0 rotate --abort --wait
  [ "$(rig_current)" = "$(first)" ]
  [ "$(rotation state)" = none ]
  [ "$(versions current)" = 1 ]
  read -r user password <<<"$new"
  [ "$(log_in "$user" "$password")" = refused ]
  [ "$(rig_failed)" = 0 ]
}

@test "--continue with nothing unfinished, --due with nothing due: 0" {
  made
  rotor_run 0 rotate --continue
  rotor_run 0 rotate --due
  [ "$(versions current)" = 1 ]
}

@test "--abort and --confirm without a candidate: 2" {
  made
  rotor_run 2 rotate --abort
  rotor_run 2 rotate --confirm orders-api
}

@test "a person's receipt" {
  RIG_CONSUMER=', confirm: manual'
  RIG_OVERLAP=1h
  made
  rotor_run 0 rotate "$ID"
  [ "$(rotation waits_for)" = receipt ]
  rotor_run 2 rotate --confirm no-such-consumer
  rotor_run 0 rotate --confirm orders-api
  rotor_run 0 rotate --continue
  [ "$(rotation waits_for)" = overlap ]
}
