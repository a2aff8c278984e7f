#!/usr/bin/env bash
# The one test command. Sets up what it needs, then runs linters, unit, shell and end-to-end tests.
#   tests/run.sh             everything
#   tests/run.sh lint        the linters alone
#   tests/run.sh clusters    the tests on a real Slurm and Grid Engine alone, for which Debian's packages are fetched;
#                            INSTALL_CLUSTERS=1 has a run of everything fetch them too
#   tests/run.sh ARGUMENTS   pytest alone, with these arguments, e.g. tests/jobs -k memory
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# Say what is run, and run it.
step() {
  printf '== %s\n' "$*"
  "$@"
}

lint() {
  local scripts=(./*.sh local/*.sh utils/*.sh tests/*.sh tests/clusters/*.sh .ci/run)
  step ruff check .
  step ruff format --check .
  step mypy --strict lid_toolkit
  step shellcheck -x "${scripts[@]}"
  step shfmt -d -i 2 -ci -bn "${scripts[@]}"
  step pre-commit validate-config
}

extras=recipe,dev
. ./path.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}

case "${1:-all}" in
  all)
    lint
    step "${python}" -m pytest -n auto -m "not (slow or slurm or sge)"
    step "${python}" -m pytest -m slow
    step "${python}" -m pytest -m "slurm or sge"
    ;;
  lint) lint ;;
  clusters) INSTALL_CLUSTERS=1 step "${python}" -m pytest -m "slurm or sge" ;;
  *) step "${python}" -m pytest "$@" ;;
esac
