# Copyright: (c) 2026, the platform.recovery authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is done on a member's host to make it a standby again: POSIX shell, as its server's own account.

Beside the data directory DIR stands DIR.recovery: `state` says how far a rewind or a rebuild got, `conf` keeps the
server's own configuration meanwhile, and `saved/FORK` keeps what the present primary does not have. All but `saved` is
gone when the member streams. The lock lies on the parent folder, so that it leaves nothing behind, and the kernel
lets go of it when the last process of a script ends, however that ended.
"""

from __future__ import annotations

from collections.abc import Mapping

from .host import assignments

LOCK_SECONDS = 30

COMMON = r"""
set -u
umask 077
export LC_ALL=C TZ=UTC PGTZ=UTC PGCONNECT_TIMEOUT=10
work=$data.recovery
saved=$work/saved
socket=
secret=
server=

fail() { printf '%s\n' "$*" >&2; exit 1; }
say() { printf '%s=%s\n' "$1" "$2"; }

# What a script began on the host ends with it.
cleanup() {
  code=$?
  trap - EXIT HUP INT TERM
  stop_isolated
  [ -z "$secret" ] || rm -f "$secret"
  rmdir "$work" 2>/dev/null
  exit "$code"
}

lock() {
  parent=$(dirname "$data")
  [ -d "$parent" ] || fail "the folder $parent is missing"
  command -v flock >/dev/null || fail "flock is missing on this host"
  exec 9<"$parent"
  flock -w "$lock_seconds" 9 || fail "another rejoin works on this host"
  trap cleanup EXIT
  trap 'exit 143' HUP INT TERM
}

find_programs() {
  found=$(command -v pg_controldata 2>/dev/null) && found=$(dirname "$found")
  for bin in "$described_bin" "/usr/lib/postgresql/$major/bin" "/usr/pgsql-$major/bin" "$found"; do
    [ -n "$bin" ] && [ -x "$bin/postgres" ] && [ -x "$bin/pg_rewind" ] || continue
    case $("$bin/postgres" --version) in *" $major"[.a-z]* | *" $major") return 0 ;; esac
  done
  bin=
  return 1
}

# The process of a server that runs on the data, if there is one.
running() {
  pid=$(sed -n 1p "$data/postmaster.pid" 2>/dev/null)
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  kill -0 "$pid" 2>/dev/null || return 1
  case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) in Z | X) return 1 ;; esac
  tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | sed -n 1p | grep -q postgres
}

# An isolated server that outlived the script which began it.
end_leftover() {
  running || return 0
  [ -e "$work/isolated" ] || fail "a server runs on $data as process $pid"
  kill -INT "$pid"
  wait_gone "$pid"
  rm -f "$work/isolated"
}

wait_gone() {
  tries=0
  while kill -0 "$1" 2>/dev/null; do
    case $(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) in Z | X) break ;; esac
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || fail "process $1 does not end"
    sleep 0.05
  done
}

mark() {
  mkdir -p "$work" || fail "$work cannot be made: give this account the right to write into its parent folder"
  printf '%s %s\n' "$1" "$primary_timeline" >"$work/state.new" && mv "$work/state.new" "$work/state"
  sync "$work/state" "$work" 2>/dev/null || sync
}

# Without -D, which wants a folder: where the data is gone, a configuration beside it still says whom to follow.
own_setting() {
  [ -n "$bin" ] && [ -n "$config" ] && [ -r "$config" ] || return 0
  "$bin/postgres" -C "$1" -c "config_file=$config" -c "data_directory=$own" -c "hba_file=$config" \
    -c "ident_file=$config" 2>/dev/null 9<&- || :
}

# Where a copy was begun, the data holds the other server's configuration, and its own is kept beside it.
find_config() {
  own=$data
  [ ! -e "$work/conf/complete" ] || own=$work/conf
  config=$described_config
  [ -n "$config" ] || config=$own/postgresql.conf
}

# The server, with its log replayed, reachable by nobody but this account: no network, a socket in a private folder,
# no archiving, no replication, no extension's background work. Command-line settings count above all files. A start
# writes wal_log_hints into the control file, where pg_rewind looks for it.
start_isolated() {
  socket=$(mktemp -d) || fail "no temporary folder"
  printf 'local all all trust\n' >"$socket/hba"
  : >"$socket/empty"
  mkdir -p "$work" && : >"$work/isolated"
  rm -f "$data/standby.signal" "$data/recovery.signal"
  slots=$(ls "$data/pg_replslot" 2>/dev/null | wc -l)
  "$bin/postgres" -D "$data" -c "config_file=$socket/empty" -c "hba_file=$socket/hba" -c "ident_file=$socket/empty" \
    -c listen_addresses= -c "unix_socket_directories=$socket" -c unix_socket_permissions=0700 -c ssl=off \
    -c archive_mode=off -c "wal_level=$wal_level" -c "wal_log_hints=$hints" \
    -c wal_keep_size=10000000 -c max_slot_wal_keep_size=-1 \
    -c "max_replication_slots=$((slots + 10))" -c max_wal_senders=0 -c "max_prepared_transactions=$prepared" \
    -c max_logical_replication_workers=0 -c shared_preload_libraries= -c session_preload_libraries= \
    -c local_preload_libraries= -c autovacuum=off -c default_transaction_read_only=on -c synchronous_standby_names= \
    -c restart_after_crash=off -c logging_collector=off -c log_destination=stderr -c external_pid_file= \
    -c dynamic_shared_memory_type=mmap -c shared_memory_type=mmap -c huge_pages=off -c shared_buffers=32MB \
    >"$socket/log" 2>&1 9<&- &
  server=$!
  until "$bin/psql" -XAtq -h "$socket" -U "$account" -d postgres -c 'SELECT 1' >/dev/null 2>"$socket/refusal"; do
    kill -0 "$server" 2>/dev/null ||
      fail "the old server does not start: $(grep -E 'FATAL|PANIC|ERROR' "$socket/log" | tail -n 1)"
    # Before it listens psql misses the socket; while it replays its log it says so.
    ! grep 'FATAL:' "$socket/refusal" | grep -Evq 'starting up|recovery|not yet accepting' ||
      fail "the old server cannot be asked: $(tail -n 1 "$socket/refusal")"
    sleep 0.1
  done
}

stop_isolated() {
  if [ -n "$server" ]; then
    kill -INT "$server" 2>/dev/null && wait "$server" 2>/dev/null
    rm -f "$work/isolated"
  fi
  server=
  [ -z "$socket" ] || rm -rf "$socket"
  socket=
}

ask_isolated() { "$bin/psql" -XAtq -v ON_ERROR_STOP=1 -h "$socket" -U "$account" -d "$1"; }
"""

EXAMINE = r"""
main() {
  lock
  find_programs || :
  find_config
  echo "== facts"
  say bin "$bin"
  say account "$(id -un)"
  if [ ! -d "$data" ]; then say data missing
  elif [ -z "$(ls -A "$data" 2>/dev/null)" ]; then say data empty
  elif [ ! -r "$data/PG_VERSION" ]; then say data damaged
  else say data present; say version "$(cat "$data/PG_VERSION")"
  fi
  if running; then say running "$pid"; fi
  if [ -e "$work/isolated" ]; then say isolated yes; fi
  say marker "$(cat "$work/state" 2>/dev/null)"
  say kept "$(cat "$work/kept" 2>/dev/null)"
  say free_kib "$(df -Pk "$(dirname "$data")" | awk 'NR == 2 { print $4 }')"
  say used_kib "$(du -skL "$data" 2>/dev/null | cut -f1)"
  say conninfo "$(own_setting primary_conninfo)"
  say slot "$(own_setting primary_slot_name)"
  say timelines "$(own_setting recovery_target_timeline)"
  newest=$(ls "$data/pg_wal" 2>/dev/null | grep -E '^[0-9A-F]{24}$' | sort | tail -n 1 | cut -c1-8)
  say newest "$newest"
  echo "== control"
  [ -z "$bin" ] || "$bin/pg_controldata" -D "$data" 2>&1 || :
  echo "== history"
  [ -z "$newest" ] || cat "$data/pg_wal/$newest.history" 2>/dev/null || :
}
"""

# Counts what a log holds, and names its transactions that committed and the tables that they wrote to.
SUMMARY = r"""
function after(text, mark,   at) { at = index(text, mark); return at ? substr(text, at + length(mark)) : "" }
function first(text,   part) { split(text, part, /[ ,;]/); return part[1] }
/^rmgr: / {
  records++
  lsn = first(after($0, " lsn: "))
  size = after($0, "len (rec/tot):"); sub(/^ *[0-9]+\/ */, "", size); size = first(size)
}
/^rmgr: Transaction .* desc: COMMIT/ {
  transactions++
  text = after($0, "desc: "); xid = after($0, " tx: "); sub(/^ +/, "", xid); xid = first(xid)
  if (text ~ /^COMMIT_PREPARED/) {
    sub(/^COMMIT_PREPARED /, "", text); xid = text; sub(/:.*/, "", xid); sub(/^[0-9]+: /, "", text)
  } else sub(/^COMMIT /, "", text)
  stamp = text; sub(/ UTC.*/, "", stamp); sub(/;.*/, "", stamp)
  subs = after(text, "subxacts: "); sub(/;.*/, "", subs)
  print "commit", xid, stamp, subs
  kept[xid] = xid; count = split(subs, part, " "); for (i = 1; i <= count; i++) kept[part[i]] = xid
}
/^rmgr: Heap2? .* desc: (INSERT|MULTI_INSERT|UPDATE|HOT_UPDATE|DELETE)/ {
  xid = after($0, " tx: "); sub(/^ +/, "", xid); xid = first(xid)
  kind = after($0, "desc: "); sub(/[ +].*/, "", kind)
  rel = first(after($0, "blkref #0: rel "))
  touched[xid SUBSEP rel]++
  if (kind == "DELETE" && gone < most) {
    place = after($0, " off: "); if (place == "") place = after($0, " off ")
    block = after($0, "blkref #0: rel "); block = first(after(block, " blk "))
    deleted[++gone] = xid " " rel " " block " " first(place)
  }
}
END {
  for (key in touched) { split(key, part, SUBSEP); if (part[1] in kept) wrote[part[2]] += touched[key] }
  for (rel in wrote) print "wrote", rel, wrote[rel]
  for (i = 1; i <= gone; i++) { split(deleted[i], part, " "); if (part[1] in kept) print "deleted", deleted[i] }
  print "total", records + 0, transactions + 0, lsn, size
}
"""

MEASURE = r"""
main() {
  lock
  find_programs || fail "no PostgreSQL $major programs were found on this host"
  # On an idle server, right after a switch of segments, the file in which the log would go on is not there yet.
  newest=$(ls "$data/pg_wal" | grep -E '^[0-9A-F]{24}$' | grep "^${segment%????????????????}" | sort | tail -n 1)
  if [ "$newest" = "$segment_before" ]; then
    say records 0
    return
  fi
  report=$(mktemp) || fail "no temporary file"
  "$bin/pg_waldump" -p "$data/pg_wal" -t "$fork_timeline" -s "$fork" 2>"$report" |
    awk -v most="$most" "$summary" | tail -n 1 | {
      read -r _ records transactions lsn size || :
      say records "${records:-0}"; say transactions "${transactions:-0}"
      say last_lsn "${lsn:-}"; say last_length "${size:-0}"
    }
  say trouble "$(sed -n '/error:/{s/^pg_waldump: //;p;}' "$report" | tail -n 1)"
  rm -f "$report"
}
"""

# The log beyond the fork as it is and in words, then the rows that its transactions left, as the old server shows them.
SAVE = r"""
rows_of() {
  sed -n "s/^deleted .*//;s/^commit \([0-9]*\) [-0-9]* [:.0-9]*/\1/p" "$folder/changes" | tr -s ' ' '\n' | sort -u |
    sed '/^$/d' | paste -sd, - >"$folder/transactions.part"
  mv "$folder/transactions.part" "$folder/transactions"
  : >"$folder/rows.part"
  for number in $(sed -n 's/^wrote [0-9]*\/\([0-9]*\)\/.*/\1/p' "$folder/changes" | sort -u); do
    name=$(printf 'SELECT datname FROM pg_database WHERE oid = %s AND datallowconn\n' "$number" |
      ask_isolated postgres) || return 1
    [ -n "$name" ] || continue
    relations=$(sed -n "s/^wrote \([0-9]*\/$number\/[0-9]*\) .*/\1/p" "$folder/changes" | paste -sd, -)
    rows_in "$name" "$relations" "" || return 1
  done
  # A transaction may have written before the fork and committed after it: the described tables are looked at anyway.
  rows_in "$database" "" "$tables" || return 1
  sort -u "$folder/rows.part" >"$folder/rows.sorted" && rm -f "$folder/rows.part" &&
    mv "$folder/rows.sorted" "$folder/rows.jsonl"
}

rows_in() {
  # Names go in as psql's variables, which quote them.
  printf '%s\n' "\\set relations '$2'" "\\set tables '$3'" "\\set file '$folder/transactions'" "$rows_query" |
    ask_isolated "$1" >>"$folder/rows.part" 2>"$folder/trouble" || {
      printf 'the rows of %s could not be read: %s\n' "$1" "$(tail -n 1 "$folder/trouble")" >&2; return 1; }
  rm -f "$folder/trouble"
}

main() {
  lock
  find_programs || fail "no PostgreSQL $major programs were found on this host"
  end_leftover
  folder=$saved/$keep_as
  if [ ! -e "$folder/complete" ]; then
    mkdir -p "$folder/wal" || fail "$folder cannot be made: let this account write into the parent of $data"
    for file in $segments; do
      [ ! -e "$data/pg_wal/$file" ] || cp -p "$data/pg_wal/$file" "$folder/wal/$file" ||
        fail "the log could not be copied"
    done
    "$bin/pg_waldump" -p "$folder/wal" -t "$fork_timeline" -s "$fork" 2>"$folder/end-of-log" |
      tee "$folder/wal.txt" | awk -v most="$most" "$summary" >"$folder/changes" || fail "the log could not be read"
    if [ "$with_rows" = yes ]; then
      start_isolated
      rows_of || exit 1
      stop_isolated
    else
      : >"$folder/rows.jsonl"
    fi
    sync "$folder"/* 2>/dev/null || sync
    : >"$folder/complete"
  fi
  # Whoever goes on after this script has died is to tell of it too.
  printf '%s\n' "$keep_as" >"$work/kept"
  echo "== folder"
  printf '%s\n' "$folder"
  echo "== changes"
  grep -v '^wrote' "$folder/changes" || :
  echo "== rows"
  cat "$folder/rows.jsonl"
}
"""

ROWS_QUERY = r"""
WITH wanted AS (
  SELECT part[1]::oid AS space, part[3]::oid AS file, entry AS relation
  FROM unnest(string_to_array(:'relations', ',')) AS entry, string_to_array(entry, '/') AS part
), named AS (
  SELECT relation, pg_filenode_relation(CASE space WHEN dattablespace THEN 0 ELSE space END, file) AS table_
  FROM wanted, pg_database WHERE datname = current_database()
  UNION SELECT NULL, to_regclass(entry) FROM unnest(string_to_array(:'tables', ',')) AS entry
), plain AS (
  SELECT n.relation, c.oid, format('%I.%I', s.nspname, c.relname) AS name,
    (SELECT array_agg(a.attname::text ORDER BY k.place)
      FROM pg_index AS i, unnest(i.indkey) WITH ORDINALITY AS k(number, place), pg_attribute AS a
      WHERE i.indrelid = c.oid AND i.indisprimary AND a.attrelid = c.oid AND a.attnum = k.number) AS keys
  FROM named AS n JOIN pg_class AS c ON c.oid = n.table_ JOIN pg_namespace AS s ON s.oid = c.relnamespace
  WHERE c.relkind = 'r' AND c.relpersistence = 'p'
    AND s.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
)
SELECT format('SELECT json_build_object(''database'', current_database(), ''table'', %L, ''keys'', %L::json,'
    ' ''transaction'', t.xmin::text, ''row'', row_to_json(t)) FROM ONLY %s AS t'
    ' WHERE t.xmin::text::bigint IN (SELECT unnest(string_to_array(pg_read_file(%L), '',''))::bigint)',
    name, to_json(coalesce(keys, '{}')), name, :'file') FROM plain
UNION ALL
SELECT format('SELECT %L', json_build_object('database', current_database(), 'relation', relation, 'table', name,
    'keys', coalesce(keys, '{}'))::text)
FROM plain WHERE relation IS NOT NULL
\gexec
"""

KEEP_CONFIGURATION = r"""
keep_configuration() {
  [ -e "$work/conf/complete" ] && return 0
  rm -rf "$work/conf"
  mkdir -p "$work/conf" || fail "$work cannot be made: give this account the right to write into its parent folder"
  for file in postgresql.conf postgresql.auto.conf pg_hba.conf pg_ident.conf conf.d server.crt server.key root.crt; do
    [ ! -e "$data/$file" ] || cp -Rp "$data/$file" "$work/conf/" || fail "the configuration could not be kept"
  done
  : >"$work/conf/complete"
  sync
}

# A copy brings the other server's configuration along: addresses and names would be its own.
restore_configuration() {
  for file in "$work/conf"/*; do
    name=$(basename "$file")
    [ -e "$file" ] && [ "$name" != complete ] || continue
    rm -rf "${data:?}/$name"
    cp -Rp "$file" "$data/$name" || fail "$name could not be put back"
  done
}

write_passfile() {
  mkdir -p "$work"
  secret=$work/pass
  printf '%s' "$passwords" >"$secret"
  export PGPASSFILE="$secret"
}

unset_environment() {
  unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGSSLMODE PGOPTIONS 2>/dev/null || :
}
"""

REACH = r"""
main() {
  lock
  find_programs || fail "no PostgreSQL $major programs were found on this host"
  unset_environment
  write_passfile
  echo "== facts"
  question='SELECT (sum(pg_database_size(oid)) / 1024)::bigint FROM pg_database'
  say kib "$("$bin/psql" -XAtq -d "$tools" -c "$question")"
  say system "$("$bin/psql" -XAtq -d "$copy replication=true" -c IDENTIFY_SYSTEM | cut -d'|' -f1)"
}
"""

REWIND = r"""
main() {
  lock
  find_programs || fail "no PostgreSQL $major programs were found on this host"
  end_leftover
  unset_environment
  keep_configuration
  case $("$bin/pg_controldata" -D "$data" | sed -n 's/^Database cluster state: *//p') in
    "shut down" | "shut down in recovery") rm -f "$data/standby.signal" "$data/recovery.signal" ;;
    *) start_isolated; stop_isolated ;;
  esac
  write_passfile
  mark rewinding
  "$bin/pg_rewind" -D "$data" --source-server="$tools" --no-ensure-shutdown >"$work/log" 2>&1 ||
    fail "pg_rewind: $(grep -E 'error|fatal' "$work/log" | tail -n 1 | sed 's/^pg_rewind: //')"
  restore_configuration
  : >"$data/standby.signal"
  mark rewound
}
"""

REBUILD = r"""
main() {
  lock
  find_programs || fail "no PostgreSQL $major programs were found on this host"
  end_leftover
  unset_environment
  write_passfile
  [ ! -d "$data" ] || keep_configuration
  mark rebuilding
  set --
  if [ -L "$data/pg_wal" ]; then
    logs=$(readlink -f "$data/pg_wal")
    find "$logs" -mindepth 1 -delete || fail "$logs could not be emptied"
    set -- --waldir "$logs"
  fi
  for space in "$data"/pg_tblspc/*; do
    [ ! -L "$space" ] || find "$(readlink -f "$space")" -mindepth 1 -maxdepth 1 -name "PG_*" -exec rm -rf {} +
  done
  mkdir -p "$data" && chmod go-w "$data" && find "$data" -mindepth 1 -delete || fail "$data could not be emptied"
  "$bin/pg_basebackup" -D "$data" -d "$copy" -c fast -X stream -S "$slot" --no-password "$@" >"$work/log" 2>&1 ||
    fail "pg_basebackup: $(tail -n 1 "$work/log" | sed 's/^pg_basebackup: //')"
  restore_configuration
  : >"$data/standby.signal"
  mark rebuilt
}
"""

DRESS = r"""
main() {
  lock
  end_leftover
  rm -f "$data/recovery.signal"
  : >"$data/standby.signal"
  [ -z "$settings" ] || printf '%s' "$settings" >>"$data/postgresql.auto.conf" ||
    fail "postgresql.auto.conf could not be written"
  sync
}
"""

FINISH = r"""
main() {
  lock
  rm -rf "$work/state" "$work/state.new" "$work/kept" "$work/conf" "$work/log" "$work/isolated" "$work/pass"
  for folder in "$saved"/*; do
    [ -e "$folder/complete" ] || rm -rf "$folder"
  done
  rmdir "$saved" "$work" 2>/dev/null || :
}
"""

VERBS = {
    "examine": EXAMINE,
    "measure": MEASURE,
    "save": SAVE,
    "reach": KEEP_CONFIGURATION + REACH,
    "rewind": KEEP_CONFIGURATION + REWIND,
    "rebuild": KEEP_CONFIGURATION + REBUILD,
    "dress": DRESS,
    "finish": FINISH,
}


def script(verb: str, values: Mapping[str, object]) -> str:
    """Give the script of a verb. All of it is read before it begins, and nothing in it reads the script's own input."""
    return f"{assignments(values)}{COMMON}{VERBS[verb]}\nmain </dev/null\nexit $?\n"
