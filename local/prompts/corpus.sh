# shellcheck shell=bash disable=SC2034
# Corpus prompts; docs/adding_a_corpus.md explains this file.
summary="real speech in seven languages from Debian's voice-prompt packages (0.4 GB)"
db_variable=PROMPTS
lid_options=(--train_set train_prompts --valid_set dev_prompts --test_sets "dev_prompts test_prompts"
  --tsne_set test_prompts --lid_config conf/prompts_ecapa.yaml)
