# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drill does on a standby's host: POSIX shell, as its server's own account.

Beside the standby's data directory DIR stands DIR.drill with all of the scratch: `mark` names the run, `script` the
process that makes it, and for each of the two servers its data, its configuration and its log. The
standby itself is only read, over a connection of its own that leaves no slot.
"""

from __future__ import annotations

from collections.abc import Mapping

from .host import assignments
from .rejoin_scripts import COMMON

SCRATCH = r"""
standby=$data
work=$standby.drill

# A server of the scratch by its folder.
server_of() {
  data=$work/$1
  running && tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qF "$work"
}
"""

CREATE = r"""
dress() {
  folder=$work/$1
  rm -f "$folder/standby.signal" "$folder/recovery.signal" "$folder/postmaster.pid" "$folder/postmaster.opts"
  : >"$folder/postgresql.auto.conf"
  printf '%s' "$settings" >"$folder.conf"
  {
    printf "cluster_name = '%s'\nport = %s\nhba_file = '%s'\nident_file = '%s'\n" "$1" "$2" "$work/hba" "$work/ident"
    [ -z "$3" ] || printf "primary_conninfo = '%s'\n" "$3"
  } >>"$folder.conf"
  [ -z "$3" ] || : >"$folder/standby.signal"
}

start() {
  "$bin/pg_ctl" -D "$work/$1" -o "-c config_file=$work/$1.conf" -l "$work/$1.log" -w -t "$start_seconds" start \
    >/dev/null 2>&1 9<&- || fail "the $1 server does not start: $(tail -n 1 "$work/$1.log")"
}

copy() {
  set -- "$1" "$2"
  source=$standby
  [ "$1" = "$old" ] || source=$work/$old
  for space in "$source"/pg_tblspc/*; do
    [ ! -L "$space" ] || set -- "$@" -T "$(readlink -f "$space")=$work/spaces/$1/$(basename "$space")"
  done
  name=$1 from=$2
  shift 2
  "$bin/pg_basebackup" -D "$work/$name" -d "$from" -c fast -X stream --no-slot --no-password "$@" \
    >"$work/log" 2>&1 9<&- || fail "pg_basebackup: $(tail -n 1 "$work/log" | sed 's/^pg_basebackup: //')"
}

main() {
  lock
  find_programs || fail "no PostgreSQL $major programs were found on this host"
  [ ! -e "$work" ] || fail "$work is there already"
  used=$(du -skL "$standby" 2>/dev/null | cut -f1)
  free=$(df -Pk "$parent" | awk 'NR == 2 {print $4}')
  [ "$free" -gt $((used * 22 / 10)) ] || fail "the two copies need $((used * 22 / 10)) KiB, and $free KiB are free"
  mkdir "$work" || fail "$work cannot be made: give this account the right to write into its parent folder"
  printf '%s\n' "$run" >"$work/mark"
  echo "$$" >"$work/script"
  unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGSSLMODE PGOPTIONS 2>/dev/null || :
  printf '%s' "$passwords" >"$work/pass"
  export PGPASSFILE="$work/pass"
  { printf 'host replication all %s scram-sha-256\n' "$own_address"; cat "$hba"; } >"$work/hba" ||
    fail "the rules of $hba cannot be read"
  cat "$ident" >"$work/ident" 2>/dev/null || :
  copy "$old" "$way port=$port"
  dress "$old" "$old_port" ""
  start "$old"
  copy "$new" "$way port=$old_port"
  dress "$new" "$new_port" "$way port=$old_port passfile=$work/pass application_name=$new"
  start "$new"
  rm -f "$work/script"
}
"""

STRIKE = r"""
main() {
  server_of "$old" || fail "the $old server does not run"
  kill -KILL "$pid"
  wait_gone "$pid"
}
"""

REMOVE = r"""
# A script that outlived the controller which sent it, and then all that works in the scratch.
end_work() {
  while read -r pid; do
    case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in *"sh -s ") kill -KILL "$pid" 2>/dev/null ;; esac
  done <"$work/script"
}

end_processes() {
  for place in $(printf '%s\n' "$work/" | grep -lF -f - /proc/[0-9]*/cmdline 2>/dev/null); do
    pid=$(basename "$(dirname "$place")")
    kill -QUIT "$pid" 2>/dev/null && wait_gone "$pid"
  done
}

# The kernel keeps the shared memory of a server that was killed. Only the one that its process made, and nobody uses.
free_memory() {
  for file in "$work"/*/postmaster.pid; do
    [ -e "$file" ] || continue
    set -- $(sed -n 7p "$file")
    [ $# = 2 ] || continue
    awk -v key="$1" -v id="$2" -v maker="$(sed -n 1p "$file")" \
      '$1 == key && $2 == id && $5 == maker && $7 == 0 {found = 1} END {exit !found}' /proc/sysvipc/shm 2>/dev/null &&
      ipcrm -m "$2" 2>/dev/null
  done
  :
}

main() {
  echo "== facts"
  [ -e "$work" ] || return 0
  say mark "$(cat "$work/mark" 2>/dev/null)"
  [ "$verb" = remove ] || return 0
  [ -e "$work/mark" ] || rmdir "$work" 2>/dev/null || fail "$work has no mark of a drill: it is not touched"
  [ ! -e "$work/script" ] || end_work
  lock
  end_processes
  free_memory
  rm -rf "$work" || fail "$work could not be removed"
}
"""

VERBS = {"create": CREATE, "strike": STRIKE, "find": REMOVE, "remove": REMOVE}


def script(verb: str, values: Mapping[str, object]) -> str:
    """Give the script of a verb."""
    return f"{assignments({**values, 'verb': verb})}{COMMON}{SCRATCH}{VERBS[verb]}\nmain </dev/null\nexit $?\n"
