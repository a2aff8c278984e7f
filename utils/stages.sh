# shellcheck shell=bash
# Run numbered stages: select them, log their times, handle signals, and list the results.
# Uses the options stage, stop_stage, skip_stages and dry_run, and calls the function stage_N for each selected stage.
# shellcheck disable=SC2154  # the options are set by parse_options

log() {
  printf '%(%Y-%m-%d %H:%M:%S)T %s\n' -1 "$*" >&2
}

# Succeed if stage $1 is selected by the options.
due() {
  (($1 >= stage && $1 <= stop_stage)) && [[ " ${skip_stages//[[:blank:]]/ } " != *" $1 "* ]]
}

# Exit unless $2 exists, or stage $1, which makes it, is to run. $3 is the option that names it.
made_by() {
  due "$1" || [[ -e $2 ]] || die "$0: $2: does not exist (run stage $1, or check --$3)"
}

# In a dry run, set "waits" if one of these files or directories does not exist yet. In a real run, the command
# itself reports missing inputs.
needs() {
  local file
  waits=false
  for file in "$@"; do
    [[ ${dry_run} == true && ! -e ${file} ]] || continue
    log "to do (waits for ${file})"
    waits=true
  done
}

# In a real run, succeed. In a dry run, print the command, and succeed only if it has a dry run of its own and all
# its inputs exist.
rehearse() {
  local words
  [[ ${dry_run} == true ]] || return 0
  words=$(printf ' %q' "$@")
  echo "${words/ --dry_run true/}"
  [[ ${waits} == false && " $* " == *" --dry_run true "* ]]
}

# Run a planning command and set "jobs" to the number of jobs it prints. A dry run keeps "jobs", the maximum.
plan() {
  rehearse "$@" || return 0
  # shellcheck disable=SC2034  # for the caller
  if "${dry_run}"; then "$@" >/dev/null; else jobs=$(LID_PARENT=$$ exec "$@"); fi
}

# Run a command and wait until it has ended. A signal sent to this script only is passed on to the command. If this
# script is killed, so that it cannot pass anything on, a command of the recipe gets SIGTERM (LID_PARENT).
run() {
  local status parent="" seen=-1
  rehearse "$@" || return 0
  # A site's own script may run the command elsewhere, where this process id belongs to another process.
  [[ $1 != "${python}" && $1 != utils/* && $1 != local/* ]] || parent=$$
  (trap - INT TERM HUP USR1 && LID_PARENT=${parent} exec "$@") &
  running=$!
  until ((seen == signals)); do # a signal to this script interrupts the wait
    seen=${signals} status=0
    wait "${running}" || status=$?
  done
  running=""
  # 75: training stopped after writing a checkpoint; the same command resumes it.
  ((signalled == 0 || status == 75)) || exit "${signalled}"
  return "${status}"
}

# From now on, pass signals on to the commands of "run".
pass_on_signals() {
  running="" signalled=0 signals=0
  trap 'end_by INT 2' INT
  trap 'end_by TERM 15' TERM
  trap 'end_by HUP 1' HUP
  trap 'end_by USR1 "$(kill -l USR1)"' USR1 # Slurm's warning before the time limit
}

# Handle signal $1, which has number $2: pass it on to the running command, then exit.
end_by() {
  signalled=$((128 + $2)) signals=$((signals + 1))
  [[ -n ${running} ]] || exit "${signalled}"
  # The terminal sends Ctrl-C to the command as well: give it time to end.
  [[ $1 != INT ]] || sleep 1
  kill -s "$1" "${running}" 2>/dev/null || true
}

# Lock directory $1 until this script ends or locks another one. A dry run takes no lock.
hold() {
  local job
  [[ ${dry_run} == false ]] || return 0
  mkdir -p -- "$1"
  exec 9>>"$1/.running"
  "${python}" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null \
    || {
      job=$(find "$1/logs/.jobs" -name queue_id -exec cat {} + 2>/dev/null) || true
      die "$1: in use by another run${job:+, ${job/ / job }} (wait for it, or choose another directory)"
    }
}

# Run the selected stages and report their times. The arguments are the titles of all stages.
run_stages() {
  local n titles=("" "$@") times=() started
  current=""
  trap 'end_stages $?' EXIT
  pass_on_signals
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

# If the exit code $1 is not 0, log which stage failed.
end_stages() {
  [[ $1 == 0 || -z ${current} ]] || log "${current} ended with exit code $1"
}

# Print the files that exist, under a heading.
look_at() {
  local file found=()
  for file in "$@"; do
    [[ ! -e ${file} ]] || found+=("${file}")
  done
  ((${#found[@]} == 0)) || printf '%s\n' "Look at:" "${found[@]/#/  }" >&2
}
