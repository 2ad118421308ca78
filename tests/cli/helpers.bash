# For the bats files of the command line: `load helpers`. The program is $ROTOR_BIN (build/rotor).
# shellcheck shell=bash
bats_require_minimum_version 1.5.0
bats_load_library bats-support
bats_load_library bats-assert

TOP=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
: "${ROTOR_BIN:=$TOP/build/rotor}"
# A value that no message, file or log may ever show; tests put it where a secret goes.
CANARY=canary0Zx9Qw7Lk5Jh3

# setup_home   a fresh home in $H below the test's own folder; nothing of the caller's environment decides where
setup_home() {
  unset ROTOR_HOME XDG_STATE_HOME
  export HOME=$BATS_TEST_TMPDIR
  H=$BATS_TEST_TMPDIR/home
  "$ROTOR_BIN" -C "$H" init >"$BATS_TEST_TMPDIR/init.out" 2>&1 || {
    cat "$BATS_TEST_TMPDIR/init.out"
    return 1
  }
}

rotor() { "$ROTOR_BIN" -C "$H" "$@"; }

# rotor_run STATUS ARGUMENT...   runs rotor with both streams apart ($output, $stderr) and requires this exit status
rotor_run() {
  local status_wanted=$1
  shift
  run --separate-stderr timeout 60 "$ROTOR_BIN" -C "$H" "$@" # one that hangs is 124
  # shellcheck disable=SC2154
  [ "$status" = "$status_wanted" ] || {
    printf 'rotor %s: exit %s, wanted %s\n--- standard output\n%s\n--- standard error\n%s\n' \
      "$*" "$status" "$status_wanted" "$output" "$stderr"
    return 1
  }
}

# stderr_has TEXT, output_has TEXT   a part of what was said
stderr_has() { [[ $stderr == *"$1"* ]] || { printf 'not in standard error: %s\n%s\n' "$1" "$stderr"; return 1; }; }
output_has() { [[ $output == *"$1"* ]] || { printf 'not in standard output: %s\n%s\n' "$1" "$output"; return 1; }; }

# nowhere TEXT PLACE...   the text stands in no file below these places, nor in what the last command said
nowhere() {
  local text=$1
  shift
  if grep -rlaF -- "$text" "$@"; then
    echo "found there: a secret"
    return 1
  fi
  [[ ${output-}${stderr-} != *"$text"* ]] || { echo 'a secret in the output'; return 1; }
}

# json EXPRESSION   of the document `d` in $output, as python writes it
json() { python3 -c 'import json, sys; d = json.loads(sys.argv[1]); print(eval(sys.argv[2]))' "$output" "$1"; }
