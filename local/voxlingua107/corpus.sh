# shellcheck shell=bash disable=SC2034,SC2154
# Corpus voxlingua107; docs/adding_a_corpus.md explains this file.
summary="speech from YouTube in 107 languages, downloaded (2 TB)"
db_variable=VOXLINGUA107
# A separate selection set is used to pick the checkpoint, because dev is the test set.
# flac.ark avoids 2.5 million small files.
lid_options=(--train_set train_voxlingua107 --valid_set selection_voxlingua107 --test_sets dev_voxlingua107
  --tsne_set dev_voxlingua107 --max_utt_per_lang_for_tsne 100 --audio_format flac.ark --inference_batch_size 4
  --lid_config conf/mms_ecapa_bs3min_baseline.yaml)
prepare_options=(--url "${VOXLINGUA107_URL}" --musan "${MUSAN:-}" --musan_url "${MUSAN_URL}"
  --rirs_noises "${RIRS_NOISES:-}" --rirs_noises_url "${RIRS_NOISES_URL}")

## Corpus voxlingua107
stage=1      # 1|2|3|4|5|6: first sub-stage: 1 download, 2 verify, 3 extract, 4 tables, 5 validate, 6 noises
stop_stage=6 # 1|2|3|4|5|6: last sub-stage
# end of options
