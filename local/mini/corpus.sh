# shellcheck shell=bash disable=SC2034
# Corpus mini; docs/adding_a_corpus.md explains this file.
summary="synthetic speech in twelve languages, made here (0.5 GB)"
db_variable=MINI
lid_options=(--train_set train_mini --valid_set dev_mini --test_sets test_mini --tsne_set test_mini
  --lid_config conf/mini_ecapa.yaml)

## Corpus mini
utts_per_lang="160 25 40" # ints: utterances per language in train, dev and test
# end of options
