#!/usr/bin/env bash
# A whole recipe: names a corpus's sets and configuration and calls lid.sh. ./run.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

## Recipe
corpus=auto # auto|mini|prompts|voxlingua107: auto takes VoxLingua107 where db.sh names it, else mini
# end of options

. utils/parse_options.sh
parse_options "Spoken language identification from data to pictures: picks a corpus and runs the stages of lid.sh." \
  run.sh lid.sh -- "$@"
. ./db.sh

if [[ ${corpus} == auto ]]; then
  corpus=$([[ -n ${VOXLINGUA107:-} ]] && echo voxlingua107 || echo mini)
  echo "Corpus: ${corpus} (--corpus chooses another)" >&2
fi

lid_config="conf/${corpus}_ecapa.yaml"
case "${corpus}" in
  mini)
    sets=(--train_set train_mini --valid_set dev_mini --test_sets test_mini --tsne_set test_mini)
    ;;
  prompts)
    sets=(--train_set train_prompts --valid_set dev_prompts --test_sets "dev_prompts test_prompts" --tsne_set test_prompts)
    ;;
  voxlingua107)
    # The selection set picks the checkpoint: dev stays a test set. Archives spare the disk 2.5 million files.
    sets=(--train_set train_voxlingua107 --valid_set selection_voxlingua107 --test_sets dev_voxlingua107
      --tsne_set dev_voxlingua107 --max_utt_per_lang_for_tsne 100 --audio_format flac.ark --inference_batch_size 4)
    lid_config=conf/mms_ecapa_bs3min_baseline.yaml
    ;;
esac

# The user's own options come last and win.
exec ./lid.sh "${sets[@]}" --lid_config "${lid_config}" --extract_embd true \
  --dumpdir "dump/${corpus}" --expdir "exp/${corpus}" ${options_given[@]+"${options_given[@]}"} \
  --local_data_opts "--corpus ${corpus} ${local_data_opts:-}"
