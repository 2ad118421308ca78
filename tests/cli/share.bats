# The systemd units: systemd takes them as they are, and rotor can work within what they leave it.
load helpers

SERVICE=$TOP/share/systemd/rotor-due.service
TIMER=$TOP/share/systemd/rotor-due.timer

# value KEY FILE   what a unit sets, where it sets it exactly once
value() {
  [ "$(grep -c "^$1=" "$2")" = 1 ] || { echo "not there exactly once: $1="; return 1; }
  sed -n "s/^$1=//p" "$2"
}

# keys FILE   `[SECTION]KEY` of each setting
keys() { awk '/^\[/ { s = $0 } /^[A-Za-z]+=/ { sub(/=.*/, ""); print s $0 }' "$1"; }

@test "units: no line but comments, sections and settings" {
  run grep -vnE '^(#( .*)?|\[(Unit|Service|Timer|Install)\]|[A-Z][A-Za-z]+=[^ ].*|AmbientCapabilities=|)$' "$SERVICE" "$TIMER"
  assert_equal "$output" ''
  run bash -c 'for f; do grep -oE "^[A-Z][A-Za-z]+=" "$f" | sort | uniq -d; done' - "$SERVICE" "$TIMER"
  assert_equal "$output" ''
}

@test "units: systemd knows every setting" {
  if command -v systemd-analyze >/dev/null; then
    # verify answers 0 to a key that it ignores; its words are what counts. It wants the program to be there
    sed "s|^ExecStart=rotor |ExecStart=$(type -P true) |" "$SERVICE" >"$BATS_TEST_TMPDIR/${SERVICE##*/}"
    cp "$TIMER" "$BATS_TEST_TMPDIR"
    run systemd-analyze verify --man=no "$BATS_TEST_TMPDIR/${SERVICE##*/}" "$BATS_TEST_TMPDIR/${TIMER##*/}"
    assert_equal "$status" 0
    run grep rotor-due <<<"$output"
    assert_equal "$output" ''
  else
    known=' [Unit]Description [Unit]Documentation [Unit]Wants [Unit]After [Service]Type [Service]Environment
      [Service]ExecStart [Service]StateDirectory [Service]StateDirectoryMode [Service]UMask [Service]TimeoutStartSec
      [Service]KillMode [Service]LimitMEMLOCK [Service]LimitCORE [Service]MemorySwapMax [Service]ProtectSystem
      [Service]ProtectHome [Service]NoNewPrivileges [Service]CapabilityBoundingSet [Service]AmbientCapabilities
      [Service]RestrictSUIDSGID [Service]KeyringMode [Service]PrivateDevices [Service]ProtectKernelTunables
      [Service]ProtectKernelModules [Service]ProtectKernelLogs [Service]ProtectControlGroups [Service]ProtectClock
      [Service]ProtectHostname [Service]RestrictAddressFamilies [Service]RestrictNamespaces
      [Service]RestrictRealtime [Service]LockPersonality [Service]SystemCallArchitectures
      [Service]SystemCallFilter [Service]SystemCallErrorNumber [Timer]OnCalendar [Timer]RandomizedDelaySec
      [Timer]FixedRandomDelay [Timer]Persistent [Install]WantedBy '
    for key in $(keys "$SERVICE") $(keys "$TIMER"); do
      grep -qwF -- "$key" <<<"$known" || { echo "not known: $key"; return 1; }
    done
  fi
}

@test "service: runs what is due, once, for as long as it takes" {
  assert_equal "$(value ExecStart "$SERVICE")" 'rotor rotate --due'
  assert_equal "$(value Type "$SERVICE")" oneshot
  assert_equal "$(value TimeoutStartSec "$SERVICE")" infinity
  assert_equal "$(value Environment "$SERVICE")" "ROTOR_HOME=%S/$(value StateDirectory "$SERVICE")"
  assert_equal "$(value StateDirectoryMode "$SERVICE")" 0700
}

@test "service: takes away what rotor does not need" {
  for setting in NoNewPrivileges RestrictSUIDSGID PrivateDevices ProtectKernelTunables ProtectKernelModules \
    ProtectKernelLogs ProtectControlGroups ProtectClock ProtectHostname RestrictNamespaces RestrictRealtime \
    LockPersonality ProtectSystem; do
    assert_equal "$setting=$(value $setting "$SERVICE")" "$setting=yes"
  done
  assert_equal "$(value ProtectHome "$SERVICE")" read-only
  assert_equal "$(value LimitCORE "$SERVICE")" 0
  assert_equal "$(value MemorySwapMax "$SERVICE")" 0
  assert_equal "$(value SystemCallFilter "$SERVICE")" @system-service
}

@test "service: shows no other files than everybody sees" {
  run grep -E '^(PrivateTmp|TemporaryFileSystem|RootDirectory|RootImage|BindPaths|DynamicUser|PrivateUsers)=' "$SERVICE"
  assert_equal "$output" ''
}

# confined MEMLOCK ARGUMENT...   rotor with the unit's rights and so much lockable memory
confined() {
  local memlock=$1 rights=() caps
  shift
  if [ "$(id -u)" = 0 ]; then
    caps=$(value CapabilityBoundingSet "$SERVICE" | tr 'A-Z ' 'a-z,' | sed -E 's/(^|,)cap_/\1+/g')
    rights=(setpriv --no-new-privs --bounding-set "-all,$caps" --inh-caps=-all)
  fi
  "${rights[@]}" prlimit --memlock="$memlock:$memlock" --core=0:0 "$ROTOR_BIN" -C "$H" "$@"
}

@test "service: rotor works with its rights and its locked memory" {
  H=$BATS_TEST_TMPDIR/home
  export HOME=$BATS_TEST_TMPDIR
  memlock=$(value LimitMEMLOCK "$SERVICE" | numfmt --from=iec)
  [ "$memlock" -ge 1048576 ]
  run confined "$memlock" init
  assert_equal "$status" 0
  run confined "$memlock" rotate --due
  assert_equal "$status" 0
  # the limit is felt at all
  run confined 65536 rotate --due
  assert_equal "$status" 75
  [[ $output == *LimitMEMLOCK* ]]
}

@test "timer: starts the service, also for what was missed, and can be enabled" {
  assert_equal "${TIMER##*/}" "$(basename "$SERVICE" .service).timer"
  assert_equal "$(value Persistent "$TIMER")" yes
  assert_equal "$(value WantedBy "$TIMER")" timers.target
  if command -v systemd-analyze >/dev/null; then
    systemd-analyze calendar "$(value OnCalendar "$TIMER")" >/dev/null
  else
    assert_equal "$(value OnCalendar "$TIMER")" '*:0/5'
  fi
}
