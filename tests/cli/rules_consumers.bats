#!/usr/bin/env bats
# How consumers are told, in which order, and what their health and their receipts decide.
load rules

three_files() {
  cp -p "$RIG/app/env" "$RIG/app/two" && cp -p "$RIG/app/env" "$RIG/app/three"
}
script() { # FILE   a program of the test from standard input
  cat >"$RIG/$1" && chmod 755 "$RIG/$1"
}

@test "canary: the first, then the bake, then the rest" {
  three_files
  POLICY=', canary: {consumers: 1, bake: 3s}'
  CONSUMERS=$(consumer one env; consumer two two; consumer three three)
  ready
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for bake'
  user_is env orders_b
  user_is two orders_a
  user_is three orders_a
  [ "$(answer_of two)" = accepted ]
  ended_with 0
  user_is two orders_b
  user_is three orders_b
  [ "$(versions revoked)" = 1 ]
}

@test "canary: the rest waits for the canary's receipt" {
  three_files
  POLICY=', canary: {consumers: 1, bake: 50ms}'
  CONSUMERS=$(consumer one env ', confirm: manual'; consumer two two)
  ready
  rotor_run 0 rotate "$ID"
  waits_for receipt
  user_is env orders_b
  user_is two orders_a
  rotor_run 0 rotate --confirm one --wait
  user_is two orders_b
}

@test "canary: it is not well in the bake: held, the rest still on the old one" {
  three_files
  touch "$RIG/app/well"
  POLICY=', canary: {consumers: 1, bake: 30s}'
  CONSUMERS=$(consumer one env ", health: {command: [/usr/bin/test, -e, $RIG/app/well]}"; consumer two two)
  ready
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for bake'
  rm "$RIG/app/well"
  ended_with 1
  state_is held
  user_is two orders_a
  [ "$(can_log_in orders_a)$(can_log_in orders_b)" = tt ]
  touch "$RIG/app/well"
  rotor_run 0 rotate --abort --wait
  user_is env orders_a
  [ "$(can_log_in orders_b)" = f ]
}

@test "all of several receipts must hold" {
  CONSUMERS=$(consumer one env ", confirm: [{command: [/bin/true]}, {command: [/usr/bin/test, -e, $RIG/app/yes]}]")
  OVERLAP=1h
  ready
  run_in_background rotate "$ID" --wait=confirmed
  wait_for 20 says 'waits for receipt'
  touch "$RIG/app/yes"
  ended_with 0
  waits_for overlap
}

@test "a receipt by sessions: by the client's name, and none of the old" {
  CONSUMERS=$(consumer one env ', confirm: {authority: {application_name: "orders-w*", min: 2, none_old: true}}')
  ready
  read -r user password <<<"$(pair_of env)"
  holds_open job "$user" "$password"
  run_in_background rotate "$ID" --wait
  wait_for 20 says 'waits for receipt'
  read -r user password <<<"$(pair_of env)"
  holds_open job "$user" "$password"
  PGPASSWORD=$password PGAPPNAME=orders-w1 rig_background job psql -XAtq "$(rig_conninfo) user=$user" -c 'select pg_sleep(100)'
  sleep 1
  kill -0 "$run"
  PGPASSWORD=$password PGAPPNAME=orders-w2 rig_background job psql -XAtq "$(rig_conninfo) user=$user" -c 'select pg_sleep(100)'
  sleep 1
  kill -0 "$run"
  let_go orders_a
  ended_with 0
}

@test "a JSON file: only what the map names is changed" {
  read -r user password <<<"$(pair_of env)"
  (umask 077 && cat >"$RIG/app/db.json") <<E
{"listen": "127.0.0.1:8080", "db": {"user": "$user", "url": "postgresql://$user:$password@db/orders", "password": "$password", "pool": 5}, "tags": ["a", "b"]}
E
  CONSUMERS="      - {name: one, file: $RIG/app/db.json, confirm: {command: [/bin/true]}, map: {/db/user: username, /db/password: password, /db/url: \"postgresql://{username}:{password:url}@db/orders\"}}"
  ready
  rotor_run 0 rotate "$ID" --wait
  read -r user password url rest < <(python3 -c 'import json, sys
d = json.load(open(sys.argv[1])); b = d["db"]
print(b["user"], b["password"], b["url"], [d["listen"], b["pool"], d["tags"]])' "$RIG/app/db.json")
  [ "$user" = orders_b ]
  [ "$(log_in "$user" "$password")" = accepted ]
  [ "$url" = "postgresql://orders_b:$password@db/orders" ]
  [ "$rest" = "['127.0.0.1:8080', 5, ['a', 'b']]" ]
  rotor_run 0 verify
}

@test "a raw file from a template" {
  cp "$RIG/app/env" "$RIG/app/saved"
  CONSUMERS="      - {name: pgpass, file: $RIG/app/pgpass, format: raw, template: \"127.0.0.1:*:orders:{username}:{password}\\n\", confirm: {command: [/bin/true]}}
$(consumer one env)"
  ready_from_second
  rotor_run 0 rotate "$ID" --wait
  [ "$(cat "$RIG/app/pgpass")" = "127.0.0.1:*:orders:$(pair_of env | tr ' ' :)" ]
  [ "$(PGPASSFILE=$RIG/app/pgpass psql -XAtq "$(rig_conninfo) user=orders_b" -c 'select 1')" = 1 ]
}
ready_from_second() {
  empty_home
  pair_of saved | sed 's/\(.*\) \(.*\)/{"username": "\1", "password": "\2"}/' | rotor inventory import "$ID"
}

@test "reload by a command: it learns secret and version, never a value" {
  script reload <<E
#!/bin/sh
env >>$RIG/app/seen
echo "\$*" >>$RIG/app/seen
grep -c . $RIG/app/env >>$RIG/app/seen
E
  CONSUMERS=$(consumer one env ", reload: {command: [$RIG/reload, now]}")
  ready
  rotor_run 0 rotate "$ID" --wait
  grep -qx "ROTOR_SECRET=$ID" "$RIG/app/seen"
  grep -qx 'ROTOR_VERSION=2' "$RIG/app/seen"
  grep -qx now "$RIG/app/seen"
  nowhere "$(pair_of env | cut -d' ' -f2)" "$RIG/app/seen"
}

@test "reload by a command that fails: rolled back, told again, 1" {
  script reload <<E
#!/bin/sh
echo "\$ROTOR_VERSION" >>$RIG/app/seen
[ "\$ROTOR_VERSION" = 1 ]
E
  CONSUMERS=$(consumer one env ", reload: {command: [$RIG/reload]}")
  ready
  rotor_run 1 rotate "$ID" --wait
  user_is env orders_a
  state_is none
  [ "$(tail -1 "$RIG/app/seen")" = 1 ]
  [ "$(can_log_in orders_b)" = f ]
}

@test "reload by a signal to the process in a pidfile" {
  mkfifo "$RIG/app/fifo"
  python3 -c 'import os, signal, sys
n = 0
def hup(*_):
    global n
    n += 1
    open(sys.argv[1] + "/hups", "w").write(str(n))
signal.signal(signal.SIGHUP, hup)
open(sys.argv[1] + "/pid", "w").write(str(os.getpid()))
while True: signal.pause()' "$RIG/app" 3>&- &
  RIG_PIDS+=("$!")
  wait_for 10 test -s "$RIG/app/pid"
  exe=$(readlink -f "/proc/$(cat "$RIG/app/pid")/exe")
  CONSUMERS=$(consumer one env ", reload: {signal: HUP, pidfile: $RIG/app/pid, exe: $exe}")
  ready
  rotor_run 0 rotate "$ID" --wait
  [ "$(cat "$RIG/app/hups")" = 1 ]
  echo $$ >"$RIG/app/pid"
  rotor_run 1 rotate "$ID" --wait
  user_is env orders_b
}

@test "restart is an outage that must be accepted" {
  CONSUMERS=$(consumer one env ', restart: {command: [/bin/true]}')
  ready
  rotor_run 3 rotate "$ID" --wait
  SECRET='    accept_outage: true'
  declare_it
  rotor_run 0 rotate "$ID" --wait
}

@test "a command as a consumer gets the fields on standard input" {
  script tell <<E
#!/bin/sh
cat >$RIG/app/told.json
env >$RIG/app/told.env
E
  CONSUMERS=$(consumer one env; echo "      - {name: two, provider: command, command: [$RIG/tell], confirm: {command: [/bin/true]}}")
  ready
  (umask 077 && rotor_run 0 rotate "$ID" --wait)
  [ "$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1])); f = d["fields"]
print(d["secret"], d["version"], f["username"], f["password"])' "$RIG/app/told.json")" = "$ID 2 $(pair_of env)" ]
  nowhere "$(pair_of env | cut -d' ' -f2)" "$RIG/app/told.env"
}

@test "a command that says 75 is tried again, until retry.deadline" {
  script tell <<E
#!/bin/sh
echo >>$RIG/app/tries
[ \$(wc -l <$RIG/app/tries) -gt 2 ] || exit 75
E
  CONSUMERS=$(consumer one env; echo "      - {name: two, provider: command, command: [$RIG/tell], confirm: {command: [/bin/true]}}")
  ready
  rotor_run 0 rotate "$ID" --wait
  [ "$(wc -l <"$RIG/app/tries")" = 3 ]
  ln -sf /bin/false "$RIG/tell"
  rotor_run 1 rotate "$ID" --wait
  user_is env orders_b
}

@test "pull: the overlap is twice its cache_ttl" {
  CONSUMERS=$(consumer one env; echo '      - {name: batch, provider: pull, cache_ttl: 30m}')
  ready
  rotor_run 2 inventory apply <(declaration | sed 's/, cache_ttl: 30m//')
  rig_client
  rotor_run 0 rotate "$ID"
  waiting_for overlap
  minutes=$((($(date -d "$(rotation until)" +%s) - $(date +%s)) / 60))
  [ "$minutes" -gt 50 ]
  [ "$minutes" -le 60 ]
}

@test "push: a file restored from an old copy is named by verify and repaired" {
  cp -p "$RIG/app/env" "$RIG/app/two"
  CONSUMERS=$(consumer one env; consumer two two)
  ready
  cp -p "$RIG/app/two" "$RIG/old"
  rotor_run 0 rotate "$ID" --wait
  rotor_run 0 verify
  cp -p "$RIG/old" "$RIG/app/two"
  rotor_run 1 verify "$ID"
  output_has "rotor push $ID --consumer two"
  before=$(stat -c %i "$RIG/app/env")
  rotor_run 0 push "$ID" --consumer two
  user_is two orders_b
  [ "$(stat -c %i "$RIG/app/env")" = "$before" ]
  rotor_run 0 verify
  rotor_run 2 push "$ID" --consumer no-such
  rotor_run 0 push "$ID"
}

@test "push is refused while a rotation is unfinished" {
  OVERLAP=1h
  ready
  rotor_run 0 rotate "$ID"
  rotor_run 3 push "$ID"
}

@test "push to a consumer that was added after the rotation" {
  ready
  rotor_run 0 rotate "$ID" --wait
  CONSUMERS=$(consumer orders-api env; consumer two two)
  declare_it
  rotor_run 1 verify
  rotor_run 0 push "$ID"
  [ "$(pair_of two)" = "$(pair_of env)" ]
  rotor_run 0 verify
}
