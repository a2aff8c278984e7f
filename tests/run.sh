#!/usr/bin/env bash
# The one test command. It sets up what it needs, then runs the linters, builds the documentation and runs all tests.
#   tests/run.sh             everything
#   tests/run.sh lint        the linters
#   tests/run.sh docs        build the documentation site in build/site
#   tests/run.sh fast        linters, documentation, and the tests that are not slow
#   tests/run.sh slow        the slow tests: whole runs of the recipe
#   tests/run.sh clusters    the tests on a real Slurm and Grid Engine; fetches them as Debian packages (needs root).
#                            INSTALL_CLUSTERS=1 tests/run.sh fetches them in a run of everything too
#   tests/run.sh mutants     change the code in small ways, and name the changes that no test notices; takes names, --jobs
#   tests/run.sh ARGUMENTS   pytest with these arguments, e.g. tests/jobs -k memory
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

# Say what is run, and run it.
step() {
  printf '== %s\n' "$*"
  "$@"
}

lint() {
  local scripts=(./*.sh local/*.sh local/*/*.sh utils/*.sh tests/*.sh tests/clusters/*.sh .ci/run)
  step ruff check .
  step ruff format --check .
  # NumPy 2.2 is the last one for Python 3.10; its types reject correct assignments to arrays that later ones accept.
  if "${python}" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    step mypy --strict lid_toolkit pyscripts local
  else
    echo "== mypy: skipped on Python 3.10"
  fi
  step shellcheck -x "${scripts[@]}"
  step shfmt -d -i 2 -ci -bn "${scripts[@]}"
  step pre-commit validate-config
}

# A link to a missing page, or a reference to a missing function, is an error.
docs() {
  NO_MKDOCS_2_WARNING=1 step mkdocs build --strict
}

# The site is built during the checks of types: each of them uses one core.
lint_and_docs() {
  docs &
  local site=$!
  lint
  wait "${site}"
}

# A worker that has no tests left takes half of those that another one still has to do. There are three workers for
# two cores, because many tests wait for a command, and a core would be idle for a sixth of the time.
here() {
  local cores
  cores=$(env -u OMP_NUM_THREADS nproc) # with the variable, nproc prints its value
  step "${python}" -m pytest -n "$((cores * 3 / 2))" --dist worksteal -m "$1"
}

# A file stays in one process, because its tests share one run of the recipe.
slow() {
  step "${python}" -m pytest -n auto --dist loadfile -m slow
}

# Other directories have no such tests, and to collect their tests takes as long as to start the clusters.
clusters() {
  step "${python}" -m pytest tests/jobs -m "slurm or sge"
}

# Tests on clusters mostly wait for a scheduler, so they run beside the others. Their output comes after theirs.
here_and_clusters() {
  local failed=0 output
  output=$(mktemp)
  clusters >"${output}" 2>&1 &
  local on_clusters=$!
  here "not (slurm or sge)" || failed=1
  wait "${on_clusters}" || failed=1
  cat "${output}"
  rm "${output}"
  return "${failed}"
}

extras=recipe,dev
. ./path.sh
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
# The tests start a thousand processes: without bytecode, each compiles the package again, and pytest rewrites all tests.
unset PYTHONDONTWRITEBYTECODE

case "${1:-all}" in
  all)
    lint_and_docs
    here_and_clusters
    ;;
  fast)
    lint_and_docs
    here "not (slow or slurm or sge)"
    ;;
  lint | docs | slow) "$1" ;;
  clusters) INSTALL_CLUSTERS=1 clusters ;;
  mutants) step "${python}" tests/mutants.py "${@:2}" ;;
  *) step "${python}" -m pytest "$@" ;;
esac
