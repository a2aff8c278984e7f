# shellcheck shell=bash
# What the scripts that start clusters share. Exit code 77: this machine cannot have one; the reason is the last line.

no_cluster() {
  echo "$*" >&2
  exit 77
}

# End unless the programs are there; $1 are the packages that bring them, installed if INSTALL_CLUSTERS=1.
need_programs() {
  local packages=$1 missing
  shift
  missing=$(missing_programs "$@")
  [[ -n ${missing} ]] || return 0
  [[ ${INSTALL_CLUSTERS:-0} == 1 ]] || no_cluster "${missing} is not installed (tests/run.sh clusters installs it)"
  # shellcheck disable=SC2086  # a list of words
  apt_get install -y --no-install-recommends ${packages} || no_cluster "apt-get cannot install ${packages}"
  missing=$(missing_programs "$@")
  [[ -z ${missing} ]] || no_cluster "${packages} bring no ${missing}"
}

missing_programs() {
  local program
  for program in "$@"; do
    command -v "${program}" >/dev/null || {
      echo "${program}"
      return
    }
  done
}

# Run apt-get quietly; a second time after an update of the lists if it fails.
apt_get() {
  command -v apt-get >/dev/null || no_cluster "no apt-get on this machine"
  DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >&2 && return
  apt-get -qq update >&2 && DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >&2
}

# Print the first of $1 ports in a row that are free.
free_ports() {
  local port i
  for ((port = 20000 + RANDOM % 20000; port < 60000; port += $1)); do
    for ((i = 0; i < $1; i++)); do
      ! (: </dev/tcp/127.0.0.1/$((port + i))) 2>/dev/null || continue 2
    done
    echo "${port}"
    return
  done
}

# Succeed once a command does, within $1 seconds.
wait_until() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.2
  done
}

# End the processes whose ids the files hold, if they are still the programs that the files are named after.
end_daemons() {
  local file pid name
  for file in "$@"; do
    pid=$(cat "${file}" 2>/dev/null) || continue
    name=${file##*/}
    name=${name%%[-.]*}
    grep -qs "^${name:0:15}" "/proc/${pid}/comm" || continue
    kill "${pid}"
    wait_until 15 eval "! kill -0 ${pid} 2>/dev/null" || kill -KILL "${pid}"
  done
}
