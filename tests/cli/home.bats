# The home itself: what was put back, cut off or taken away is told with a way out, and nothing is changed.
load helpers

setup() {
  setup_home
  D=$BATS_TEST_TMPDIR/decl
  mkdir -p "$D"
  declare_some 1 "$D/one.yaml"
}

# declare_some N FILE   N secrets that need no server
declare_some() {
  echo 'rotor: 1'
  echo 'secrets:'
  for ((i = 0; i < $1; i++)); do
    echo "  demo/s$i: {authority: {provider: postgres, url: \"postgresql:///x\", users: [a$i, b$i]}}"
  done
} >"$2"

# picture   of everything in the home: names, modes, owners, bytes
picture() {
  (cd "$H" && find . -printf '%p %y %m %U\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum)
}

# refuses TEXT ARGUMENT...   exit 3, TEXT and a hint on standard error, and the home is as it was
refuses() {
  local text=$1 before
  shift
  before=$(picture)
  rotor_run 3 "$@"
  stderr_has "$text"
  stderr_has 'hint: '
  [ "$(picture)" = "$before" ]
}

@test "state.db cut off" {
  rotor_run 0 inventory apply "$D/one.yaml"
  truncate -s -1000 "$H/state.db"
  : >"$H/state.db-wal"
  refuses 'cut off' inventory apply "$D/one.yaml"
  refuses 'cut off' inventory list
  : >"$H/state.db"
  refuses 'it is empty' inventory apply "$D/one.yaml"
}

@test "state.db of a newer schema" {
  python3 - "$H/state.db" <<'EOF'
import sqlite3, sys
c = sqlite3.connect(sys.argv[1])
c.execute("PRAGMA user_version=99")
c.execute("PRAGMA wal_checkpoint(TRUNCATE)")
c.close()
EOF
  rotor_run 3 inventory list # whose files of shared memory are made here
  refuses 'schema 99' inventory apply "$D/one.yaml"
  refuses 'schema 99' inventory list
}

@test "state.db that others may read" {
  chmod 644 "$H/state.db"
  refuses 'mode 0644' inventory apply "$D/one.yaml"
  refuses 'mode 0644' inventory list
}

@test "a home of another user" {
  [ "$(id -u)" = 0 ] || skip 'needs root'
  chown 1 "$H"
  refuses 'belongs to user id 1' inventory apply "$D/one.yaml"
  chown 0 "$H"
  chown 1 "$H/state.db"
  refuses state.db inventory apply "$D/one.yaml"
  chown 0 "$H/state.db"
  chown 1 "$H/keys/kek"
  refuses 'belongs to uid 1' inventory apply "$D/one.yaml"
}

@test "a key that is missing, or of another home" {
  for key in kek log.fp find.fp log.key; do
    mv "$H/keys/$key" "$BATS_TEST_TMPDIR/key"
    refuses "$key" inventory apply "$D/one.yaml"
    (umask 077 && head -c 32 /dev/urandom | od -An -vtx1 | tr -d ' \n' >"$H/keys/$key" && echo >>"$H/keys/$key")
    refuses "$([ "$key" = log.key ] && echo 'is not the key of this' || echo 'do not fit')" inventory apply "$D/one.yaml"
    mv "$BATS_TEST_TMPDIR/key" "$H/keys/$key"
  done
  rotor_run 0 inventory apply "$D/one.yaml"
}

@test "without its lock, and the way out that is named" {
  rm "$H/lock"
  refuses 'install -m 600 /dev/null' inventory apply "$D/one.yaml"
  eval "$(sed -n 's/.*\(install -m 600 .*\)$/\1/p' <<<"$stderr")"
  rotor_run 0 inventory apply "$D/one.yaml"
}

@test "no room for a larger file: temporary, and nothing is changed" {
  declare_some 200 "$D/many.yaml"
  head=$(rotor audit checkpoint)
  run --separate-stderr bash -c 'ulimit -f 1 && exec "$0" -C "$1" inventory apply "$2"' "$ROTOR_BIN" "$H" "$D/many.yaml"
  assert_equal "$status" 75
  [ -n "$stderr" ]
  rotor_run 0 inventory list
  [ -z "$output" ]
  [ "$(rotor audit checkpoint)" = "$head" ]
  rotor_run 0 audit verify
  rotor_run 0 inventory apply "$D/many.yaml"
}

@test "closed standard descriptors: the home's files do not take their place" {
  "$ROTOR_BIN" -C "$H" inventory apply "$D/one.yaml" <&- >&- 2>&- || [ $? = 1 ]
  rotor_run 0 audit verify
  rotor_run 0 inventory list
  output_has demo/s0
  # a result that could not be told is no success
  status=0
  "$ROTOR_BIN" -C "$H" inventory list >&- || status=$?
  assert_equal "$status" 1
  # and an input that is not there no empty one
  status=0
  "$ROTOR_BIN" -C "$H" inventory apply - <&- || status=$?
  [ "$status" != 0 ]
  rotor_run 0 audit verify
  for fd in 0 1 2; do
    run strace -f -e trace=openat -o "$BATS_TEST_TMPDIR/trace" bash -c "exec \"\$0\" -q -C \"\$1\" inventory apply \"\$2\" $fd>&-" \
      "$ROTOR_BIN" "$H" "$D/one.yaml"
    if grep -E "$H.* = [012]$" "$BATS_TEST_TMPDIR/trace"; then return 1; fi
  done
}

@test "init killed in the middle can be repeated" {
  calls=$(strace -f -c -e trace=fsync,fdatasync,rename,mkdir "$ROTOR_BIN" -q init "$BATS_TEST_TMPDIR/whole" 2>&1 |
    awk '$NF ~ /^(fsync|fdatasync|rename|mkdir)$/ {n += $4} END {print n}')
  [ "$calls" -gt 8 ]
  for ((n = 1; n <= calls; n++)); do
    k=$BATS_TEST_TMPDIR/k$n
    strace -f -o /dev/null -e inject=fsync,fdatasync,rename,mkdir:signal=KILL:when="$n" "$ROTOR_BIN" -q init "$k" || true
    if [ ! -e "$k/state.db" ]; then
      run "$ROTOR_BIN" init "$k"
      assert_success
      [ ! -e "$k/init.unfinished" ]
    fi
    H=$k rotor_run 0 inventory apply "$D/one.yaml"
    H=$k rotor_run 0 audit verify
    rm -r "$k"
  done
}

@test "init in a folder that holds something" {
  mkdir "$BATS_TEST_TMPDIR/full" && echo mine >"$BATS_TEST_TMPDIR/full/notes"
  H=$BATS_TEST_TMPDIR/full refuses "'notes'" init
  rm "$H/state.db"
  refuses 'state.db is gone' init
}
