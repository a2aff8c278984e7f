# shellcheck shell=bash disable=SC2034,SC2154
# Not a corpus for training: it makes the lists of noises and rooms for augmentation.
summary="lists of noises and rooms for augmentation, from MUSAN and RIRS_NOISES (18 GB)"
db_variable= # not used: db.sh has a variable for each collection
prepare_options=(--musan "${MUSAN:-}" --musan_url "${MUSAN_URL}"
  --rirs_noises "${RIRS_NOISES:-}" --rirs_noises_url "${RIRS_NOISES_URL}")
