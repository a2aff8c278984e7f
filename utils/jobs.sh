#!/usr/bin/env bash
# Run a command as N jobs: utils/jobs.sh BACKEND [options] JOB=1:N LOG COMMAND... (see --help)
# shellcheck source=path.sh
[[ -n ${python:-} ]] || . "$(dirname -- "${BASH_SOURCE[0]}")/../path.sh" || exit $?
exec "${python}" -m lid_toolkit.jobs "$@"
