# Throwaway servers for the tests; to be sourced by tests/peers/NAME.sh. The caller chooses where they live and where
# they listen:
#   PEERS        private folder, made if absent; every user must be able to reach it, and its name must be short
#                because socket paths are limited
#   PEERS_CACHE  where fetched programs are kept between runs, $PEERS/cache if not set
# shellcheck shell=bash
set -eu

peer=$(basename "$0" .sh)
say() {
  printf '%s: %s\n' "$peer" "$*" >&2
}
die() {
  say "$@"
  exit 1
}

[ -n "${PEERS:-}" ] || die 'PEERS must name a scratch folder'
mkdir -p "$PEERS"
PEERS=$(cd "$PEERS" && pwd)
chmod 755 "$PEERS"
PEERS_CACHE=${PEERS_CACHE:-$PEERS/cache}

# as USER COMMAND...   servers that refuse root get a user of their own; without root everything is ours anyway
as() {
  local user=$1
  shift
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid="$user" --regid="$(id -gn "$user")" --clear-groups --inh-caps=-all -- "$@"
  else
    "$@"
  fi
}

# fresh_folder DIR USER   empty and private to USER
fresh_folder() {
  rm -rf "$1"
  mkdir -p "$1"
  chmod 700 "$1"
  [ "$(id -u)" != 0 ] || chown "$2" "$1"
  as "$2" test -w "$1" || die "user '$2' cannot reach '$1': choose a PEERS below folders that everybody may enter"
}

# refuse_used PORT   what listens there would answer in our server's place
refuse_used() {
  if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then
    die "port $1 is taken"
  fi
}

# npm_package NAME VERSION SHA512 DIR   unpacked below DIR/package, fetched once
npm_package() {
  local name=$1 version=$2 sum=$3 dir=$4 work
  [ ! -f "$dir/.complete" ] || return 0
  rm -rf "$dir"
  mkdir -p "$dir"
  work=$(mktemp -d)
  (cd "$work" && npm pack --silent "$name@$version" >/dev/null 2>"$work/npm.log") ||
    die "$name@$version could not be fetched: $(tail -n 1 "$work/npm.log")"
  echo "$sum  $(echo "$work"/*.tgz)" | sha512sum --check --status || die "$name@$version is not the archive that was expected"
  tar -xzf "$work"/*.tgz -C "$dir" --no-same-owner
  rm -rf "$work"
  chmod -R go+rX "$dir"
  touch "$dir/.complete"
}
