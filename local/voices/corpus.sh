# shellcheck shell=bash disable=SC2034,SC2154
# Corpus voices; docs/adding_a_corpus.md explains this file.
summary="real speech in 33 languages from Debian packages, with unseen voices in dev and test (1.5 GB)"
db_variable=VOICES
# Many recordings are single words.
lid_options=(--train_set train_voices --valid_set dev_voices --test_sets test_voices --tsne_set test_voices
  --min_wav_duration 0.5 --lid_config conf/prompts_ecapa.yaml)
prepare_options=(--prompts_dir "${PROMPTS:-downloads/prompts}")

## Corpus voices
own_folder= # path: folder of your own with LANGUAGE/… recordings, one voice for each language, such as GCompris's voices
# end of options
