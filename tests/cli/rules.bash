# For the bats files about the rules of rotations: `load rules`. A declaration from parts, because each rule needs
# another one, and what these files ask again and again.
# shellcheck shell=bash
load rig

# declaration   from these parts, each with a default that a test can sit out:
#   OVERLAP QUIET DRAIN SOAK CONFIRM   durations
#   POLICY, AUTHORITY                  further keys there, each behind a comma
#   SECRET                             further lines of the secret
#   AUTH, USERS                        values
#   CONSUMERS                          lines of the list; `consumer` makes one
declaration() {
  cat <<E
rotor: 1
policies:
  short:
    {probe: {successes: 1, timeout: 2s}, confirm: {timeout: ${CONFIRM:-20s}}, overlap: ${OVERLAP:-50ms},
     drain: {quiet_for: ${QUIET:-100ms}, sample: 50ms, timeout: ${DRAIN:-20s}}, soak: ${SOAK:-50ms},
     retry: {deadline: 2s}${POLICY:-}}
secrets:
  $ID:
    policy: short
${SECRET:-}
    authority:
      {provider: postgres, url: "postgresql://rotor@127.0.0.1:$RIG_PORT/orders", auth: ${AUTH:-"{file: $RIG/manager}"},
       users: ${USERS:-[orders_a, orders_b]}${AUTHORITY:-}}
    consumers:
${CONSUMERS:-$(consumer orders-api env)}
${MORE_SECRETS:-}
E
}

# consumer NAME FILE [KEYS]   with a receipt that is always given, unless KEYS say how
consumer() {
  local keys=${3:-}
  case $keys in *confirm:*) ;; *) keys=", confirm: {command: [/bin/true]}$keys" ;; esac
  echo "      - {name: $1, file: $RIG/app/$2, map: {PGUSER: username, PGPASSWORD: password}$keys}"
}

# declare_it   loads the declaration as the parts say now
declare_it() {
  declaration >"$RIG/orders.yaml"
  "$ROTOR_BIN" -q -C "$H" inventory apply "$RIG/orders.yaml"
}
# ready   a home with it, and the password in use as version 1
ready() {
  empty_home
  "$ROTOR_BIN" -q -C "$H" inventory import "$ID" --from-consumer
}
empty_home() { "$ROTOR_BIN" -q -C "$H" init && declare_it; }

# user_of FILE   whose name an application's file holds
user_of() { sed -n 's/^PGUSER=//p' "$RIG/app/$1"; }
user_is() { [ "$(user_of "$1")" = "$2" ]; }
pair_of() { sed -n 's/^PGUSER=//p;s/^PGPASSWORD=//p' "$RIG/app/$1" | paste -sd' '; }
# answer_of FILE   what the server says to the credential there
answer_of() {
  local user password
  read -r user password <<<"$(pair_of "$1")"
  log_in "$user" "$password"
}
# holds_open PID-VARIABLE USER PASSWORD   a session that stays
holds_open() {
  PGPASSWORD=$3 PGAPPNAME=nightly rig_background "$1" psql -XAtq "$(rig_conninfo) user=$2" -c 'select pg_sleep(100)'
  wait_for 10 has_session "$2"
}
# let_go USER   ends them; killing the client would leave the server asleep
let_go() { rig_sql "select pg_terminate_backend(pid) from pg_stat_activity where usename = '$1'" >"$RIG/ended" && wait_for 10 no_session "$1"; }
has_session() { [ "$(sessions_of "$1")" -gt 0 ]; }
no_session() { [ "$(sessions_of "$1")" = 0 ]; }
sessions_of() { rig_sql "select count(*) from pg_stat_activity where usename = '$1'"; }
# run_in_background [ARGUMENT...]   a rotor of its own; $run is its process, ended_with STATUS waits for it
run_in_background() { rig_background run "$ROTOR_BIN" -C "$H" "$@" >"$RIG/run.out" 2>"$RIG/run.err"; }
ended_with() {
  local wanted=$1 status=0 _
  wait_for 40 gone "$run" || { echo "process $run goes on"; cat "$RIG/run.err"; return 1; }
  wait "$run" || status=$?
  [ "$status" = "$wanted" ] || { echo "exit $status, wanted $wanted"; cat "$RIG/run.err"; return 1; }
}
gone() { ! kill -0 "$1" || [ "$(ps -o stat= -p "$1" | cut -c1)" = Z ]; }
# says TEXT   the rotor in the background has said so
says() { grep -qF -- "$1" "$RIG/run.err"; }
# waits_for WHAT, state_is STATE   of the newest unfinished rotation, as it is on record
waits_for() { [ "$(rotation waits_for)" = "$1" ]; }
state_is() { [ "$(rotation state)" = "$1" ]; }
# waiting_for WHAT   carried on, process by process, until it waits for this
waiting_for() { wait_for 20 continued_to "$1"; }
step_state() { # STEP [TARGET]   states of these step rows in the unfinished rotation, in order
  rotor --json status "$ID" | python3 -c 'import json, sys
r = json.load(sys.stdin)["rotations"][-1]
print(*[s["state"] for s in r["steps"] if s["step"] == sys.argv[1] and sys.argv[2] in ("", s["target"])])' "$1" "${2:-}"
}
# findings   the checks of the errors that verify finds
findings() {
  rotor --json verify "$@" 2>"$RIG/verify.err" | python3 -c 'import json, sys
print(*sorted({f["check"] for f in json.load(sys.stdin)["findings"] if f["severity"] == "error"}))'
}
