# Help, manual and completion say the same as the program's own tables.
load helpers

setup() {
  GEN=${ROTOR_BIN%/*}/completions
  MAN=$TOP/man
}

# commands   the name of every row, one per line
commands() {
  "$ROTOR_BIN" --help | sed -n '/^commands:/,/^$/{ s/^  \([a-z]\+\( [a-z]\+\)\?\)  .*/\1/p }'
}

# options COMMAND   every long option of a row
options() {
  # shellcheck disable=SC2086
  "$ROTOR_BIN" $1 --help | sed -n '/^options:/,/^$/p' | grep -oE -- '^ +(-[a-z], )?--[a-z-]+' |
    grep -oE -- '--[a-z-]+' || :
}

# letter_of COMMAND OPTION   its short form, if it has one
letter_of() {
  # shellcheck disable=SC2086
  "$ROTOR_BIN" $1 --help | sed -n "s/^ *-\([a-zA-Z]\), $2\( .*\)\?\$/\1/p"
}

# operands COMMAND   what stands behind the options in the usage line
operands() {
  # shellcheck disable=SC2086
  "$ROTOR_BIN" $1 --help | sed -n "1s/^usage: rotor $1\( \[OPTION\.\.\.\]\)\?//p"
}

page_of() { echo "$MAN/rotor-${1%% *}.1"; }

# fails WHAT...   collects what is missing, so that one run shows all of it
missing=()
fails() { missing+=("$*"); }
done_with() { [ ${#missing[@]} = 0 ] || { printf '%s\n' "${missing[@]}"; return 1; }; }

@test "the table is found at all" {
  [ "$(commands | wc -l)" -ge 19 ]
  [ "$(options rotate | wc -l)" -ge 14 ]
  commands | grep -qx 'inventory apply'
}

@test "every command has --help on standard output, with usage and summary" {
  while read -r name; do
    # shellcheck disable=SC2086
    run --separate-stderr "$ROTOR_BIN" $name --help
    [ "$status" = 0 ] && [ -z "$stderr" ] || fails "$name: exit $status, $stderr"
    [[ ${lines[0]} == "usage: rotor $name"* ]] || fails "$name: ${lines[0]}"
    summary=$("$ROTOR_BIN" --help | sed -n "s/^  $name  \+//p")
    [ -n "$summary" ] && [[ $output == *"$summary"* ]] || fails "$name: no summary"
    # shellcheck disable=SC2086
    [ "$("$ROTOR_BIN" help $name)" = "$output" ] || fails "$name: rotor help says something else"
  done < <(commands)
  done_with
}

@test "groups have help, and no command is an error" {
  run "$ROTOR_BIN" inventory --help
  assert_success
  assert_output --partial 'inventory apply'
  refute_output --partial 'audit log'
  run --separate-stderr "$ROTOR_BIN"
  [ "$status" = 2 ]
  [ -z "$output" ]
  stderr_has 'no command given'
  run --separate-stderr "$ROTOR_BIN" inventory
  [ "$status" = 2 ]
}

@test "--version needs nothing" {
  run --separate-stderr env -i HOME=/nonexistent "$ROTOR_BIN" --version
  [ "$status" = 0 ]
  [[ $output =~ ^rotor\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "wrong usage: exit 2, named, with a hint, nothing on standard output" {
  for line in 'rotate --fo' 'rotat' 'status --check=1' 'revoke' 'push' 'audit' 'rotate --due --abort' 'help nonsense' \
    '--color=perhaps status' '-q -v status'; do
    # shellcheck disable=SC2086
    run --separate-stderr "$ROTOR_BIN" -C "$BATS_TEST_TMPDIR/none" $line
    [ "$status" = 2 ] || fails "$line: exit $status"
    [ -z "$output" ] || fails "$line: on standard output: $output"
    [[ $stderr == 'rotor: '* ]] || fails "$line: $stderr"
  done
  done_with
  run --separate-stderr "$ROTOR_BIN" rotate --fo
  [ "$stderr" = $'rotor: unknown option \'--fo\' of \'rotate\'\nhint: rotor rotate --help' ]
  run --separate-stderr "$ROTOR_BIN" --json rotate --fo
  [ "$status" = 2 ]
  output=$stderr json 'd["error"]["code"], d["error"]["hint"]' | grep -qxF "(2, 'rotor rotate --help')"
}

@test "wrong usage of rotate is told apart" {
  setup_home
  for line in '' '--due x' '--due --continue' '--continue --abort' '--continue a b' '--due --dry-run' '--limit 3 x' \
    '--strict x' '--continue --expect d' '--abort --jobs 2' '--due --now' '--due --fresh' '--now x' '--wait=soon x' \
    '--jobs 0 x' '--jobs 1x x' '--due --limit 0' '--confirm'; do
    # shellcheck disable=SC2086
    run --separate-stderr rotor rotate $line
    [ "$status" = 2 ] || fails "rotate $line: exit $status, $stderr"
    [ -z "$output" ] || fails "rotate $line: $output"
  done
  for line in 'revoke a --force' 'revoke a@' 'revoke a@0' 'revoke a@1x' 'revoke @1' 'revoke a@4294967296' 'home adopt' \
    'audit verify --export /x' 'audit verify --vkey /x' 'audit log --since -1' 'audit log --limit 0' \
    'provider show nothing'; do
    # shellcheck disable=SC2086
    run --separate-stderr rotor $line
    [ "$status" = 2 ] || fails "$line: exit $status, $stderr"
  done
  done_with
}

@test "a result that cannot be written is a failure" {
  [ -e /dev/full ] || skip 'no /dev/full'
  run --separate-stderr bash -c '"$0" provider list >/dev/full' "$ROTOR_BIN"
  [ "$status" = 1 ]
  stderr_has 'cannot write to standard output'
}

@test "the manual has a page for every command, with every option, all operands and exit codes" {
  while read -r name; do
    page=$(page_of "$name")
    [ -f "$page" ] || { fails "$page is missing"; continue; }
    grep -qE "^\.Nm rotor Cm $name( |\$)" "$page" || fails "$page: no synopsis of '$name'"
    while read -r option; do
      grep -qE -- "^\.It .*Fl -${option#--}( |\$)" "$page" || fails "$page: $option of '$name' is not explained"
      letter=$(letter_of "$name" "$option")
      sed -n '/^\.Sh SYNOPSIS/,/^\.Sh DESCRIPTION/p' "$page" | grep -qE -- "Fl (-${option#--}${letter:+|$letter})( |\$)" ||
        fails "$page: $option is not in the synopsis"
    done < <(options "$name")
    for word in $(operands "$name" | grep -oE '[A-Z]+'); do
      grep -qE "^\.(Op )?.*Ar $word" "$page" || fails "$page: operand $word of '$name'"
    done
    for code in 0 1 2; do
      grep -qx "\.It $code" "$page" || fails "$page: exit status $code"
    done
  done < <(commands)
  for code in 0 1 2 3 4 75; do
    grep -qx "\.It $code" "$MAN/rotor.1" || fails "rotor.1: exit status $code"
  done
  while read -r option; do
    grep -qE -- "^\.It .*Fl -?${option##*-}( |\$)" "$MAN/rotor.1" || fails "rotor.1: $option"
  done < <("$ROTOR_BIN" --help | sed -n '/^options:/,/^$/p' | grep -oE -- '^ +-{1,2}[a-zA-Z]+' | tr -d ' ')
  done_with
}

@test "the manual explains no option that there is not" {
  for page in "$MAN"/rotor-*.1; do
    group=${page##*/rotor-}
    group=${group%.1}
    all=$(commands | grep -E "^$group( |\$)" | while read -r name; do options "$name"; done)
    [ -n "$(commands | grep -E "^$group( |\$)")" ] || fails "$page: there is no command '$group'"
    while read -r option; do
      grep -qx -- "--$option" <<<"$all" || fails "$page: --$option"
    done < <(grep -E '^\.It' "$page" | grep -oE 'Fl -[a-z-]+' | sed 's/Fl -//')
  done
  done_with
}

@test "every page is correct mdoc" {
  command -v mandoc >/dev/null || skip 'mandoc is not installed'
  run bash -c 'mandoc -T lint -W warning "$@" | grep -v "referenced manual not found"' - "$MAN"/*.[157]
  [ -z "$output" ]
}

@test "every kind has a page with every parameter" {
  kinds=$("$ROTOR_BIN" provider list | cut -d' ' -f1)
  [ "$(wc -l <<<"$kinds")" -ge 4 ]
  for kind in $kinds; do
    page=$MAN/rotor-$kind.7
    [ -f "$page" ] || { fails "$page is missing"; continue; }
    run --separate-stderr "$ROTOR_BIN" --json provider show "$kind"
    [ "$status" = 0 ] || fails "$kind: exit $status"
    [ "$(json 'd["provider"]["name"]')" = "$kind" ] || fails "$kind: another name"
    python3 - "$output" "$page" <<'PY' || fails "$page: see above"
import json, re, sys
def names(params):
    for p in params or []:
        yield p["name"]
        yield from names(p["params"])
page = open(sys.argv[2]).read()
provider = json.loads(sys.argv[1])["provider"]
want = set(names(provider["params"]))
have = set(re.findall(r"^\.It Ic (\S+)", page, re.M))
lacks, more = want - have, have - want
if lacks or more or not provider["example"]:
    print(sys.argv[2], "lacks", sorted(lacks), "has too many", sorted(more))
    sys.exit(1)
PY
  done
  done_with
}

@test "completions know every command and option" {
  for shell in bash zsh fish; do
    "$GEN" $shell >"$BATS_TEST_TMPDIR/rotor.$shell"
    text=$(<"$BATS_TEST_TMPDIR/rotor.$shell")
    while read -r name; do
      group=''
      [[ $name != *' '* ]] || group=${name% *}
      case $shell in
      fish) grep -qE "__rotor_at \"$group\"' -f -a '.* ${name##* }[ ']" <<<"$text" ;;
      *) grep -qF "'$name')" <<<"$text" ;;
      esac || fails "$shell: '$name'"
      while read -r option; do
        [ $shell != fish ] || option="-l ${option#--}"
        [[ $text == *"$option"* ]] || fails "$shell: $option"
      done < <(options "$name")
    done < <(commands)
  done
  done_with
  bash -n "$BATS_TEST_TMPDIR/rotor.bash"
  ! command -v zsh >/dev/null || zsh -n "$BATS_TEST_TMPDIR/rotor.zsh"
  ! command -v fish >/dev/null || fish -n "$BATS_TEST_TMPDIR/rotor.fish"
  run "$GEN" nushell
  [ "$status" = 2 ]
}

@test "bash completes commands, options, files and kinds" {
  "$GEN" bash >"$BATS_TEST_TMPDIR/rotor.bash"
  mkdir "$BATS_TEST_TMPDIR/bin" "$BATS_TEST_TMPDIR/exports"
  ln -s "$ROTOR_BIN" "$BATS_TEST_TMPDIR/bin/rotor"
  # completed WORD...   what the last word can become
  completed() {
    PATH=$BATS_TEST_TMPDIR/bin:$PATH bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _rotor; echo "${COMPREPLY[*]}"' \
      "$BATS_TEST_TMPDIR/rotor.bash" "$@"
  }
  [ "$(completed rotor rot)" = rotate ]
  [ "$(completed rotor inventory a)" = apply ]
  [ "$(completed rotor -C /nowhere inventory a)" = apply ]
  [ "$(completed rotor rotate --du)" = --due ]
  [ "$(completed rotor --color a)" = 'auto always' ]
  [ "$(completed rotor provider show pu)" = pull ]
  [ "$(completed rotor audit verify --export "$BATS_TEST_TMPDIR/exp")" = "$BATS_TEST_TMPDIR/exports" ]
  [ -z "$(completed rotor rotate --reason x)" ]
}

@test "bash completes the ids of secrets" {
  setup_home
  "$GEN" bash >"$BATS_TEST_TMPDIR/rotor.bash"
  mkdir "$BATS_TEST_TMPDIR/bin"
  ln -s "$ROTOR_BIN" "$BATS_TEST_TMPDIR/bin/rotor"
  cat >"$BATS_TEST_TMPDIR/s.yaml" <<'YAML'
rotor: 1
secrets:
  prod/one:
    authority: {provider: postgres, url: "postgresql:///x", users: [one_a, one_b]}
    consumers:
      - {name: c, provider: pull, cache_ttl: 5m}
  test/two:
    authority: {provider: postgres, url: "postgresql:///x", users: [two_a, two_b]}
    consumers:
      - {name: c, provider: pull, cache_ttl: 5m}
YAML
  rotor_run 0 inventory apply "$BATS_TEST_TMPDIR/s.yaml"
  run env PATH="$BATS_TEST_TMPDIR/bin:$PATH" bash -c '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _rotor; echo "${COMPREPLY[*]}"' \
    "$BATS_TEST_TMPDIR/rotor.bash" rotor -C "$H" rotate pro
  assert_output prod/one
}
