# Shared by tests/run, tests/demo, tests/bench/run and the shell tests; to be sourced by bash. Sets:
#   TOP    the repository
#   SUDO   what goes before a command that needs root ("" when root)
# shellcheck shell=bash

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SUDO=
[ "$(id -u)" = 0 ] || SUDO=sudo

die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# packages NAME...   installs those that are missing. Debian would make and start a database cluster of its own with the
# server's package; a test has no business to leave one behind, so that is switched off for the time of the installation.
packages() {
  local missing=() p conf=/etc/postgresql-common/createcluster.d/rotor-tests.conf log
  for p; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  printf 'installing %s\n' "${missing[*]}"
  log=$(mktemp)
  if ! {
    $SUDO apt-get -q update &&
      $SUDO mkdir -p "${conf%/*}" && echo 'create_main_cluster = false' | $SUDO tee "$conf" &&
      $SUDO env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "${missing[@]}"
  } >"$log" 2>&1; then
    $SUDO rm -f "$conf"
    tail -n 5 "$log" >&2
    rm -f "$log"
    die "packages could not be installed: ${missing[*]}"
  fi
  $SUDO rm -f "$conf"
  rm -f "$log"
}

# What it takes to build and run rotor, to run its tests, and to compare server versions.
PACKAGES_BUILD=(gcc libc6-dev pkg-config meson ninja-build libsodium-dev libsqlite3-dev libyaml-dev libjansson-dev
  libpq-dev postgresql postgresql-client)
PACKAGES_TEST=(clang libclang-rt-14-dev bats bats-assert bats-support bats-file strace sqlite3 procps man-db mandoc
  util-linux systemd tzdata binutils python3 zsh fish bash-completion clang-format)

# scratch   a private folder that the database server's user can reach, with a short name: socket paths are limited.
# tests/run puts them all below one of its own, to see at the end what was left there.
scratch() {
  local d
  d=$(mktemp -d "${ROTOR_SCRATCH:-/tmp}/rt.XXXXXX") && chmod 755 "$d" && printf '%s\n' "$d"
}

# free_port   one below the range from which the kernel takes ports for outgoing connections
free_port() {
  local p _
  for _ in $(seq 200); do
    p=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    (exec 3<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null || {
      echo "$p"
      return
    }
  done
  die 'no free port found'
}

# wait_for SECONDS COMMAND...   until the command succeeds
wait_for() {
  local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
    sleep 0.02
  done
}

# tap OK NAME   one result; OK is an exit status. tap_end prints the plan and gives the exit status of the file
tap_n=0 tap_bad=0
tap() {
  tap_n=$((tap_n + 1))
  if [ "$1" = 0 ]; then
    echo "ok $tap_n - $2"
  else
    echo "not ok $tap_n - $2"
    tap_bad=$((tap_bad + 1))
  fi
}
tap_note() { sed 's/^/# /' <<<"$*"; }
tap_end() {
  echo "1..$tap_n"
  [ "$tap_bad" = 0 ]
}
