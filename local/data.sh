#!/usr/bin/env bash
# Stage 1: prepare the data directories of a corpus. local/data.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

## Data
corpus=auto    # auto|mini|prompts|voxlingua107: auto takes VoxLingua107 where db.sh names it, else mini
datadir=data   # path: where the data directories go
downloads=     # path: where recordings go, in a folder named as the corpus; empty: where db.sh says
utts_per_lang= # ints: mini only: utterances per language in train, dev and test; empty: 160 25 40
nj=2           # int+: number of processes
dry_run=false  # bool: only say what would be done
# end of options

. utils/parse_options.sh
parse_options "Prepare the data directories train_CORPUS, dev_CORPUS and test_CORPUS." local/data.sh -- "$@"
. ./db.sh

if [[ ${corpus} == auto ]]; then
  corpus=$([[ -n ${VOXLINGUA107:-} ]] && echo voxlingua107 || echo mini)
  echo "Corpus: ${corpus} (--corpus chooses another)" >&2
fi

read -ra counts <<<"${utts_per_lang}"
case "${corpus}" in
  mini) corpus_dir=${MINI} ;;
  prompts) corpus_dir=${PROMPTS} ;;
  voxlingua107)
    die "$0: --corpus voxlingua107: its data script is not there yet (give --corpus mini or --corpus prompts)"
    ;;
esac
[[ -z ${downloads} ]] || corpus_dir=${downloads}/${corpus}
if ((${#counts[@]})); then
  [[ ${corpus} == mini ]] || die "$0: --utts_per_lang: corpus ${corpus} has one size (leave it out)"
  ((${#counts[@]} == 3)) || die "$0: --utts_per_lang: '${utts_per_lang}' is not three numbers (give e.g. '160 25 40')"
  counts=(--utts_per_lang "${counts[@]}")
fi

. ./path.sh
exec "${python}" -m "local.${corpus}.prepare" --datadir "${datadir}" --corpus_dir "${corpus_dir}" \
  --nj "${nj}" --dry_run "${dry_run}" ${counts[@]+"${counts[@]}"}
