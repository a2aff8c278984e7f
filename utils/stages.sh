# shellcheck shell=bash
# Running numbered stages: which are due, their banners, signals, times and what to look at afterwards.
# Reads the options stage, stop_stage, skip_stages and dry_run, and calls stage_N for each stage that is due.
# shellcheck disable=SC2154  # the options are set by parse_options

log() {
  printf '%(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*" >&2
}

# Succeed if stage $1 is to be run.
due() {
  (($1 >= stage && $1 <= stop_stage)) && [[ " ${skip_stages//[[:blank:]]/ } " != *" $1 "* ]]
}

# Note in a dry run whether what is to come waits for one of these files or directories; a real run lets it say so.
needs() {
  local file
  waits=false
  for file in "$@"; do
    [[ ${dry_run} == true && ! -e ${file} ]] || continue
    log "to do (waits for ${file})"
    waits=true
  done
}

# In a dry run print a command, and succeed if it is to be run nevertheless: it says itself what is due, and waits for nothing.
rehearse() {
  local words
  [[ ${dry_run} == true ]] || return 0
  words=$(printf ' %q' "$@")
  echo "${words/ --dry_run true/}"
  [[ ${waits} == false && " $* " == *" --dry_run true "* ]]
}

# Set "jobs" to how many jobs the command that plans them says; a dry run leaves the most there may be.
plan() {
  rehearse "$@" || return 0
  # shellcheck disable=SC2034  # the caller's
  if "${dry_run}"; then "$@" >/dev/null; else jobs=$("$@"); fi
}

# Run a command so that a signal to this script alone ends the command too, and wait until it has ended.
run() {
  local status=0
  rehearse "$@" || return 0
  (trap - INT TERM HUP && exec "$@") &
  running=$!
  wait "${running}" || status=$?
  while kill -0 "${running}" 2>/dev/null; do # a signal to this script cut the wait short
    wait "${running}" || status=$?
  done
  running=""
  ((signalled == 0)) || exit "${signalled}"
  return "${status}"
}

# Note that signal $1 with number $2 asks for the end, and hand it to the command that is running.
end_by() {
  signalled=$((128 + $2))
  [[ -n ${running} ]] || exit "${signalled}"
  # Ctrl-C reaches the command from the terminal: leave it time to end by that
  [[ $1 != INT ]] || sleep 1
  kill -s "$1" "${running}" 2>/dev/null || true
}

# Keep other runs out of directory $1 until this script ends or holds another; in a dry run, keep nobody out.
hold() {
  [[ ${dry_run} == false ]] || return 0
  mkdir -p -- "$1"
  exec 9>>"$1/.running"
  "${python}" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null \
    || die "$1: in use by another run (wait for it, or choose another directory)"
}

# Run the stages that are due, of those titled by the arguments, and report.
run_stages() {
  local n titles=("" "$@") times=() started
  running="" current="" signalled=0
  trap 'end_stages $?' EXIT
  trap 'end_by INT 2' INT
  trap 'end_by TERM 15' TERM
  trap 'end_by HUP 1' HUP
  for ((n = 1; n < ${#titles[@]}; n++)); do
    due "${n}" || continue
    current="stage ${n} (${titles[n]})" started=${SECONDS} waits=false
    log "Stage ${n}: ${titles[n]}"
    "stage_${n}"
    times+=("$(printf '  %2d  %-20s %6s' "${n}" "${titles[n]}" "$((SECONDS - started)) s")")
  done
  current=""
  log "Done in ${SECONDS} s."
  ((${#times[@]} == 0)) || printf '%s\n' "${times[@]}" >&2
}

# Say which stage an exit code other than 0 ended.
end_stages() {
  [[ $1 == 0 || -z ${current} ]] || log "${current} ended with exit code $1"
}

# Print those of the files that are there, under a heading.
look_at() {
  local file found=()
  for file in "$@"; do
    [[ ! -e ${file} ]] || found+=("${file}")
  done
  ((${#found[@]} == 0)) || printf '%s\n' "Look at:" "${found[@]/#/  }" >&2
}
