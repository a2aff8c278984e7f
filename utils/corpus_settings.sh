#!/usr/bin/env bash
# Print the settings in local/NAME/corpus.sh as assignments: utils/corpus_settings.sh NAME [FOLD]
# A separate process, so that no other variable of the file reaches the recipe, and any error stops it.
set -efuo pipefail
name=$1
# shellcheck disable=SC2034  # for corpus.sh
fold=${2:-1}

# Print "NAME=( WORD... )" for the array $1 from the words $2...
assignment() {
  printf '%s=(' "$1"
  shift
  (($# == 0)) || printf ' %q' "$@"
  printf ' )\n'
}

. ./db.sh
corpus_dir="downloads/${name}" folds=0 lid_options=() prepare_options=()
unset db_variable
# shellcheck source=local/mini/corpus.sh
. "local/${name}/corpus.sh" >/dev/null
if [[ -v db_variable ]]; then
  corpus_dir=${db_variable:+${!db_variable:-}}
fi
printf 'corpus_dir=%q\ndb_variable=%q\ncorpus_folds=%q\n' "${corpus_dir}" "${db_variable:-}" "${folds}"
assignment lid_options ${lid_options[@]+"${lid_options[@]}"}
assignment prepare_options ${prepare_options[@]+"${prepare_options[@]}"}
