# shellcheck shell=bash disable=SC2034,SC2154
# Corpus voxlingua107_dev; docs/adding_a_corpus.md explains this file.
summary="real speech from YouTube in 33 languages, five folds, downloaded (0.5 GB)"
db_variable=VOXLINGUA107_DEV
folds=5
lid_options=(--train_set "train_voxlingua107_dev_fold${fold}" --valid_set "valid_voxlingua107_dev_fold${fold}"
  --test_sets "test_voxlingua107_dev_fold${fold}" --tsne_set "test_voxlingua107_dev_fold${fold}"
  --parent_set all_voxlingua107_dev --lid_config conf/voxlingua107_dev_ecapa.yaml)
prepare_options=(--url "${VOXLINGUA107_URL}")
