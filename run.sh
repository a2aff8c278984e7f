#!/usr/bin/env bash
# The whole recipe: run lid.sh with the sets and the configuration of a corpus. ./run.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

## Recipe
corpus=auto # auto|@corpora: corpus to use; auto: voxlingua107 if db.sh has its directory, otherwise mini
# end of options

. utils/parse_options.sh
. utils/corpora.sh
find_corpora with_sets
parse_options "Spoken language identification from data to results: run the stages of lid.sh on a corpus.

Corpora
$(describe_corpora)" run.sh lid.sh utils/espnet_options.sh -- "$@"
. ./db.sh

if [[ ${corpus} == auto ]]; then
  corpus=$(auto_corpus)
  echo "Corpus: ${corpus} (--corpus chooses another)" >&2
fi
read_corpus "${corpus}"

# The user's options come last, so they take precedence.
exec ./lid.sh "${lid_options[@]}" --extract_embd true \
  --dumpdir "dump/${corpus}" --expdir "exp/${corpus}" ${options_given[@]+"${options_given[@]}"} \
  --local_data_opts "--corpus ${corpus} ${local_data_opts:-}"
