# shellcheck shell=bash
# Set up the environment: after sourcing this file, "${python}" has lid_toolkit and its requirements.
#
# The first match is used:
#   1. python=PATH, if set; it must have the package;
#   2. the active environment (VIRTUAL_ENV or CONDA_PREFIX), if it has the package;
#   3. .venv in the directory of this file, if its installation is complete;
#   4. python3 on PATH, if it has the package;
#   5. .venv, created now from pyproject.toml and constraints.txt.
# extras="recipe,dev" also installs the development tools.

# The installation is complete if .venv/.ready, which is written last, holds the extras and this digest.
env_digest() {
  { cat "$1/pyproject.toml" "$1/setup.py" "$1/constraints.txt" "$1/.venv/pyvenv.cfg" && echo "$1"; } 2>/dev/null | cksum
}

# Succeed if the .venv of recipe $1 is complete and has the extras $2.
env_ready() {
  local had="" digest="" extra
  [[ -x $1/.venv/bin/python ]] && { IFS='|' read -r had digest <"$1/.venv/.ready"; } 2>/dev/null || return 1
  [[ ${digest} == "$(env_digest "$1")" ]] || return 1
  for extra in ${2//,/ }; do
    [[ ,${had}, == *",${extra},"* ]] || return 1
  done
}

# Succeed if Python $1 has lid_toolkit and all distributions that it and its extras $2 require.
env_has_package() {
  "$1" - "$2" 2>/dev/null <<'EOF'
import re
import sys
from importlib import metadata

wanted = set(sys.argv[1].split(","))
# Twice, because an extra may require another extra, as dev requires docs: "lid_toolkit[docs]; extra == 'dev'".
for requirement in 2 * (metadata.requires("lid_toolkit") or []):
    marker = re.search(r"extra == ['\"](\w+)['\"]", requirement)
    if marker is None or marker[1] in wanted:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w,]*)\])?", requirement).groups()
        metadata.version(name)
        if name.replace("-", "_") == "lid_toolkit":
            wanted |= set(extras.split(","))
EOF
}

# Print the first Python on PATH that is new enough and can create virtual environments, or fail with one line.
env_base_python() {
  local candidate found=""
  for candidate in python3 python3.13 python3.12 python3.11 python3.10 python; do
    command -v "${candidate}" >/dev/null || continue
    found=${found:-${candidate}}
    "${candidate}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || continue
    found=${candidate}
    if "${candidate}" -c 'import ensurepip, venv' 2>/dev/null; then
      echo "${candidate}"
      return
    fi
  done
  if [[ -z ${found} ]]; then
    echo "error: PATH: no python3 (install Python 3.10 or later, or give --python)" >&2
  elif "${found}" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
    echo "error: ${found}: module venv is missing (install it; on Debian and Ubuntu: the package python3-venv)" >&2
  else
    echo "error: $("${found}" --version 2>&1): too old (install Python 3.10 or later, or give --python)" >&2
  fi
  return 2
}

# Create or complete the .venv of recipe $1 with the extras $2. If another process is doing so, wait for it.
env_make() (
  local root=$1 extras=$2 base doing="Creating" clear=() quiet=()
  base=$(env_base_python) || exit 2
  [[ -w ${root} ]] || {
    echo "error: ${root}: not writable (give --python, or activate an environment that has the package)" >&2
    exit 2
  }
  exec 9>>"${root}/.venv.lock" || exit 2
  if ! "${base}" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null; then
    echo "Waiting for another process that is setting up ${root}/.venv" >&2
    "${base}" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)' || exit 2
    ! env_ready "${root}" "${extras}" || exit 0
  fi
  [[ ! -e ${root}/.venv ]] || doing="Completing or updating"
  [[ ! -f ${root}/.venv/.ready ]] || [[ $(<"${root}/.venv/.ready") != *dev* ]] || extras="recipe,dev"
  rm -f "${root}/.venv/.ready"
  echo "${doing} the environment ${root}/.venv (downloads about 3 GB once; takes a few minutes)" >&2
  [[ $("${root}/.venv/bin/python" -V 2>&1) == "$("${base}" -V 2>&1)" ]] || clear=(--clear)
  [[ -t 2 ]] || quiet=(--progress-bar off)
  "${base}" -m venv ${clear[@]+"${clear[@]}"} "${root}/.venv" >&2 || exit 2
  cd -- "${root}" || exit 2
  # Without --no-compile, half of the time goes into modules that are never imported.
  .venv/bin/python -m pip install ${quiet[@]+"${quiet[@]}"} --disable-pip-version-check --no-compile \
    -c constraints.txt -e ".[${extras}]" >&2 9>&- || {
    echo "error: ${root}/.venv: the installation failed (see above; run again to continue)" >&2
    exit 2
  }
  echo "${extras}|$(env_digest "${root}")" >.venv/.ready.new
  mv .venv/.ready.new .venv/.ready
)

# Choose the Python of recipe $1 with the extras $2, and export the variables that all stages need.
env_activate() {
  local root=$1 extras=$2 active=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
  if [[ -n ${python:-} && ${env_checked:-} == "${python} ${extras} ${root}" ]]; then
    return
  elif [[ -n ${python:-} ]]; then
    if ! env_has_package "${python}" "${extras}"; then
      echo "error: ${python}: does not run, or lacks lid_toolkit or one of its requirements" \
        "('${python}' -m pip install -c constraints.txt -e '.[${extras}]', or omit --python)" >&2
      return 2
    fi
  elif [[ -n ${active} && ${active} != "${root}/.venv" ]] && env_has_package "${active}/bin/python" "${extras}"; then
    python="${active}/bin/python"
  elif ! env_ready "${root}" "${extras}" && env_has_package python3 "${extras}"; then
    python=python3
  else
    env_ready "${root}" "${extras}" || env_make "${root}" "${extras}" || return 2
    python="${root}/.venv/bin/python"
  fi
  python=$(command -v "${python}")
  export python PATH="${python%/*}:${PATH}" PYTHONPATH="${root}${PYTHONPATH:+:${PYTHONPATH}}"
  export LC_ALL=C PYTHONUTF8=1 env_checked="${python} ${extras} ${root}"
}

env_activate "$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null && pwd)" "${extras:-recipe}"
