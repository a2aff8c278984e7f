#!/usr/bin/env bash
# The whole recipe: run lid.sh with the sets and the configuration of a corpus. ./run.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

## Recipe
corpus=auto # auto|@corpora: corpus to use; auto: voxlingua107 if db.sh has its directory, otherwise mini
fold=1      # int+: of a corpus with folds, the one to test on; the model is trained on the others
folds=one   # one|all: all: train and test on each fold in turn, then score the answers of all folds together
# end of options

. utils/parse_options.sh
. utils/corpora.sh
. utils/stages.sh
find_corpora with_sets
parse_options "Spoken language identification from data to results: run the stages of lid.sh on a corpus.

Corpora
$(describe_corpora)" run.sh lid.sh utils/espnet_options.sh -- "$@"
. ./db.sh

if [[ ${corpus} == auto ]]; then
  corpus=$(auto_corpus)
  echo "Corpus: ${corpus} (--corpus chooses another)" >&2
fi
read_corpus "${corpus}" "${fold}"
check_folds

# Set "command" to the run of lid.sh for the fold that was read, with results in exp/$1 and further options. The user's
# options come after the corpus's, so they take precedence.
set_command() {
  command=(./lid.sh "${lid_options[@]}" --extract_embd true --dumpdir "dump/${corpus}" --expdir "exp/$1"
    ${options_given[@]+"${options_given[@]}"} --local_data_opts "--corpus ${corpus} ${local_data_opts:-}" "${@:2}")
}

place=${corpus}
if [[ ${folds} == one ]]; then
  ((corpus_folds == 0)) || place+=/fold${fold}
  set_command "${place}"
  exec "${command[@]}"
fi

pass_on_signals
pooled_folds="" python=${python:-}
for ((fold = 1; fold <= corpus_folds; fold++)); do
  log "Fold ${fold} of ${corpus_folds}"
  read_corpus "${corpus}" "${fold}"
  set_command "${place}/fold${fold}"
  dry_run=false run "${command[@]}"
  pooled_folds+=" exp/${place}/fold${fold}:$(option_of --test_sets)"
done
((${stage:-1} <= 7 && ${stop_stage:-7} >= 7)) || exit 0
log "All folds together"
set_command "${place}/all_folds" --stage 7 --stop_stage 7 --test_sets "$(option_of --parent_set)" \
  --pooled_folds "${pooled_folds# }"
exec "${command[@]}"
