# The inventory's commands over a private home. What needs a server is in the tests that have one.
load helpers

setup() {
  setup_home
  D=$BATS_TEST_TMPDIR/decl
  mkdir -p "$D" "$BATS_TEST_TMPDIR/run"
}

# declare_two FILE   two secrets: prod/db with a store-less file consumer, prod/admin without
declare_two() {
  cat >"$1" <<EOF
rotor: 1
secrets:
  prod/admin:
    owner: dba
    risk: critical
    authority: {provider: postgres, url: "postgresql:///postgres", users: [admin_a, admin_b]}
  prod/db:
    owner: team-orders
    labels: {app: orders}
    authority: {provider: postgres, url: "postgresql://rotor@127.0.0.1:1/orders?sslmode=disable", users: [orders_a, orders_b], auth: {secret: prod/admin}}
    consumers:
      - {file: $BATS_TEST_TMPDIR/run/env, format: env, map: {PGUSER: username, PGPASSWORD: password}}
EOF
}

@test "apply: takes declarations up and says what changed" {
  declare_two "$D/all.yaml"
  rotor_run 0 inventory apply "$D/all.yaml"
  output_has prod/admin
  output_has prod/db
  [ -z "$stderr" ]
  rotor_run 0 inventory list
  assert_equal "${#lines[@]}" 2
  [[ ${lines[0]} == prod/admin* ]] && [[ ${lines[1]} == prod/db* ]]
}

@test "apply: the document, and nothing the second time" {
  declare_two "$D/all.yaml"
  rotor_run 0 --json inventory apply "$D/all.yaml"
  assert_equal "$(json '[(c["secret"], c["change"]) for c in d["changes"]]')" \
    "[('prod/admin', 'added'), ('prod/db', 'added')]"
  rotor_run 0 --json inventory apply "$D/all.yaml"
  assert_equal "$(json '{c["change"] for c in d["changes"]}')" "{'unchanged'}"
  sed -i 's/dba/team-dba/' "$D/all.yaml"
  rotor_run 0 --json inventory apply "$D/all.yaml"
  assert_equal "$(json '[c["differs"] for c in d["changes"]]')" "[['/owner'], []]"
}

@test "apply: a dry run changes nothing" {
  declare_two "$D/all.yaml"
  rotor_run 0 inventory apply --dry-run "$D/all.yaml"
  output_has prod/db
  rotor_run 0 inventory apply -n "$D/all.yaml"
  rotor_run 0 inventory list
  assert_equal "$output" ''
}

@test "apply: standard input" {
  declare_two "$D/all.yaml"
  rotor inventory apply - <"$D/all.yaml"
  rotor_run 0 inventory list prod/db
  rotor_run 2 inventory apply --prune - <"$D/all.yaml"
  stderr_has 'standard input'
}

@test "apply: every fault with its place, and nothing is applied" {
  declare_two "$D/all.yaml"
  sed -i 's/risk: critical/risk: huge/; s/owner: team-orders/ownr: team-orders/' "$D/all.yaml"
  rotor_run 2 inventory apply "$D/all.yaml"
  stderr_has "$D/all.yaml:5:"
  stderr_has "$D/all.yaml:8:"
  stderr_has 'nothing was applied'
  assert_equal "$output" ''
  rotor_run 0 inventory list
  assert_equal "$output" ''
}

@test "apply: faults as one JSON document" {
  echo 'rotor: 1
secrets: {a: {authority: {provider: nothing-like-it}}}' >"$D/bad.yaml"
  rotor_run 2 --json inventory apply "$D/bad.yaml"
  assert_equal "$output" ''
  output=$stderr
  assert_equal "$(json 'd["format"], d["error"]["code"], len(d["error"]["faults"]), d["error"]["more"]')" '(1, 2, 1, 0)'
  { echo 'rotor: 1' && echo 'secrets:' && for i in {1..130}; do echo "  s$i: {nothing-like-it: 1}"; done; } >"$D/bad.yaml"
  rotor_run 2 --json inventory apply "$D/bad.yaml"
  output=$stderr
  assert_equal "$(json 'len(d["error"]["faults"]), d["error"]["more"] >= 30')" '(100, True)'
}

@test "apply: a file that is not there, and none given" {
  rotor_run 2 inventory apply "$D/none.yaml"
  stderr_has none.yaml
  rotor_run 2 inventory apply
}

@test "apply: --prune drops what the same file no longer declares" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  echo 'rotor: 1
secrets: {other: {authority: {provider: postgres, url: "postgresql:///x", users: [o_a, o_b]}}}' >"$D/other.yaml"
  rotor inventory apply "$D/other.yaml"
  sed -i '/^  prod\/db:/,$d' "$D/all.yaml"
  rotor_run 0 inventory apply --prune "$D/all.yaml"
  output_has prod/db
  rotor_run 0 --json inventory list
  assert_equal "$(json '[s["id"] for s in d["secrets"]]')" "['other', 'prod/admin']"
}

@test "apply: --prune keeps what another secret logs in with" {
  declare_two "$D/all.yaml"
  sed -n '1,/^  prod\/db/{/^  prod\/db/!p}' "$D/all.yaml" >"$D/admin.yaml"
  sed '3,6d' "$D/all.yaml" >"$D/db.yaml"
  rotor inventory apply "$D/admin.yaml"
  rotor inventory apply "$D/db.yaml"
  echo 'rotor: 1
secrets: {new: {authority: {provider: postgres, url: "postgresql:///x", users: [o_a, o_b]}}}' >"$D/admin.yaml"
  rotor_run 3 inventory apply --prune "$D/admin.yaml"
  stderr_has "'prod/db' logs in with it"
  rotor_run 2 inventory show new
}

@test "validate: needs no home, changes nothing" {
  declare_two "$D/all.yaml"
  cd "$BATS_TEST_TMPDIR"
  run --separate-stderr env -u ROTOR_HOME XDG_STATE_HOME="$BATS_TEST_TMPDIR/nowhere" "$ROTOR_BIN" inventory validate "$D/all.yaml"
  assert_equal "$status" 0
  output_has '2 secrets in 1 file: no faults'
  [ ! -e "$BATS_TEST_TMPDIR/nowhere" ]
}

@test "validate: references that nobody declares are faults, unless the home knows them" {
  declare_two "$D/all.yaml"
  sed '3,6d' "$D/all.yaml" >"$D/db.yaml"
  rotor_run 2 inventory validate "$D/db.yaml"
  stderr_has 'prod/admin'
  rotor inventory apply "$D/all.yaml"
  rotor_run 0 inventory validate "$D/db.yaml"
}

@test "validate: a home that was named must be there" {
  declare_two "$D/all.yaml"
  H=$BATS_TEST_TMPDIR/none
  rotor_run 2 inventory validate "$D/all.yaml"
  stderr_has 'no home'
}

@test "list: selectors" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  for selector in prod/db 'prod/d*' owner=team-orders app=orders 'provider=postgres,app=orders'; do
    rotor_run 0 inventory list "$selector"
    assert_equal "${output%% *}" prod/db
    assert_equal "${#lines[@]}" 1
  done
  rotor_run 0 inventory list prod/db risk=critical
  assert_equal "${#lines[@]}" 2
  rotor_run 2 inventory list prod/none
  stderr_has "no secret 'prod/none'"
  rotor_run 2 inventory list 'a b'
  rotor_run 2 inventory list risk=huge
}

@test "list: --due and --expiring" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  rotor_run 0 inventory list --due
  assert_equal "$output" '' # a first rotation is begun by hand
  rotor_run 0 inventory list --expiring 7d
  assert_equal "$output" ''
  rotor_run 2 inventory list --expiring soon
}

@test "show: a document with the declaration, all defaults filled in" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  rotor_run 0 --json inventory show --effective prod/db
  assert_equal "$(json 'd["secrets"][0]["effective"]["policy"]["overlap"]')" 600000
  assert_equal "$(json 'd["secrets"][0]["version"], d["secrets"][0]["versions"]')" '(None, [])'
  rotor_run 0 --json inventory show prod/db
  assert_equal "$(json '"effective" in d["secrets"][0]')" False
  rotor_run 0 inventory show prod/db
  output_has prod/db
  output_has team-orders
  rotor_run 2 inventory show prod/none
}

@test "forget: with a reason, on record" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  rotor_run 2 inventory forget prod/db
  stderr_has --reason
  rotor_run 3 inventory forget prod/admin --reason 'not ours'
  rotor_run 0 inventory forget prod/db --reason 'not ours'
  rotor_run 2 inventory show prod/db
  rotor_run 0 audit log
  output_has inventory.forget
  output_has 'not ours'
  rotor_run 0 inventory forget prod/admin --reason 'not ours'
}

@test "import: what is no value is refused, and shown nowhere" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  rotor_run 2 inventory import prod/db --from-consumer --field password
  rotor_run 2 inventory import prod/db --fd 77
  stderr_has 'descriptor 77'
  rotor_run 2 inventory import prod/db </dev/null
  rotor_run 2 inventory import prod/db --field 'Bad Name' <<<"$CANARY"
  rotor_run 2 inventory import prod/db <<<"{\"password\": 1, \"x\": \"$CANARY\"}"
  nowhere "$CANARY" "$H"
  rotor_run 2 inventory import prod/db <<<"{\"password\": \"$CANARY\""
  nowhere "$CANARY" "$H"
  rotor_run 2 inventory import prod/db <<<'{}'
}

@test "import: a descriptor of rotor's own is not read" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  for fd in 3 4 5 6; do
    run --separate-stderr bash -c 'exec 3<&- 4<&- 5<&- 6<&-; exec "$@"' - "$ROTOR_BIN" -C "$H" inventory import prod/db --fd "$fd"
    assert_equal "$status" 2
    stderr_has 'is not open'
  done
}

@test "import: a value that no server accepts is not taken" {
  declare_two "$D/all.yaml"
  rotor inventory apply "$D/all.yaml"
  run --separate-stderr rotor inventory import prod/db <<<"{\"username\": \"orders_a\", \"password\": \"$CANARY\"}"
  [ "$status" -ne 0 ]
  nowhere "$CANARY" "$H"
  rotor_run 0 --json inventory list prod/db
  assert_equal "$(json 'd["secrets"][0]["version"]')" None
}
