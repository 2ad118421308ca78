# For bats files that rotate for real: `load rig`. Gives one server to the file, and a fresh database, home and consumer
# to each test.
# shellcheck shell=bash
load helpers
# shellcheck source=../lib/base.sh
. "$BATS_TEST_DIRNAME/../lib/base.sh"
. "$TOP/tests/lib/rig.sh"
ID=demo/orders-db

setup_file() {
  RIG=$(scratch)
  ROTOR=$ROTOR_BIN
  export RIG ROTOR RIG_PORT RIG_SOCKET RIG_LOG
  rig_tools && rig_server
}
teardown_file() { rig_end; }

setup() {
  RIG_OVERLAP=50ms RIG_QUIET=200ms RIG_SAMPLE=50ms RIG_SOAK=50ms RIG_RETRY=2s
  H=$RIG/home
  rig_fresh
}
teardown() { rig_quiet; }

# made   home and declaration as the RIG_ variables say, and the first password imported
made() {
  rig_home >"$RIG/home.out" 2>&1 || {
    cat "$RIG/home.out"
    return 1
  }
}
# served   the same, with a client that logs in all the time: it is the receipt
served() { made && rig_client; }

first() { head -1 "$RIG/records"; }
# log_in USER PASSWORD   prints accepted, refused or error
log_in() { "$RIG/client" try "$(rig_conninfo)" <<<"$1 $2" 2>/dev/null; }
versions() { # STATE   the numbers of the versions in that state
  rotor --json inventory show "$ID" |
    python3 -c 'import json, sys
print(*[v["version"] for v in json.load(sys.stdin)["secrets"][0]["versions"] if v["state"] == sys.argv[1]])' "$1"
}
rotation() { # KEY   of the newest unfinished rotation
  rotor --json status | python3 -c 'import json, sys
r = json.load(sys.stdin)["rotations"]
print(r[-1][sys.argv[1]] if r else "none")' "$1"
}
can_log_in() { rig_sql "SELECT rolcanlogin FROM pg_roles WHERE rolname = '$1'"; }
# continued_to WAIT   one more `rotate --continue`; true when the rotation waits for this
continued_to() { timeout 60 "$ROTOR_BIN" -q -C "$H" rotate --continue && [ "$(rotation waits_for)" = "$1" ]; }
