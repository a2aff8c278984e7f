#!/usr/bin/env bash
# Stage 1: prepare the data directories of a corpus. local/data.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

## Data
corpus=auto    # auto|mini|prompts|voxlingua107|noises: auto takes VoxLingua107 where db.sh names it, else mini
datadir=data   # path: where the data directories go
downloads=     # path: where recordings go, in a folder named as the corpus; empty: where db.sh says
utts_per_lang= # ints: mini only: utterances per language in train, dev and test; empty: 160 25 40
stage=         # 1|2|3|4|5|6: voxlingua107 only: first of 1 download, 2 verify, 3 extract, 4 tables, 5 validate, 6 noises
stop_stage=    # 1|2|3|4|5|6: voxlingua107 only: last of them
nj=2           # int+: number of processes
dry_run=false  # bool: only say what would be done
# end of options

. utils/parse_options.sh
parse_options "Prepare the data directories of a corpus, or (noises) the lists that augmentation reads." local/data.sh -- "$@"
. ./db.sh

if [[ ${corpus} == auto ]]; then
  corpus=$([[ -n ${VOXLINGUA107:-} ]] && echo voxlingua107 || echo mini)
  echo "Corpus: ${corpus} (--corpus chooses another)" >&2
fi

# End the script unless option $1, whose value is $2, is for corpus $3.
only_for() {
  [[ -z $2 || ${corpus} == "$3" ]] || die "$0: --$1: corpus ${corpus} has no such choice (leave it out)"
}

only_for utts_per_lang "${utts_per_lang}" mini
only_for stage "${stage}" voxlingua107
only_for stop_stage "${stop_stage}" voxlingua107
options=()
noises=(--musan "${MUSAN:-}" --musan_url "${MUSAN_URL}" --rirs_noises "${RIRS_NOISES:-}" --rirs_noises_url "${RIRS_NOISES_URL}")
case "${corpus}" in
  mini)
    corpus_dir=${MINI}
    read -ra counts <<<"${utts_per_lang}"
    ((${#counts[@]} == 0 || ${#counts[@]} == 3)) \
      || die "$0: --utts_per_lang: '${utts_per_lang}' is not three numbers (give e.g. '160 25 40')"
    ((${#counts[@]} == 0)) || options=(--utts_per_lang "${counts[@]}")
    ;;
  prompts) corpus_dir=${PROMPTS} ;;
  voxlingua107)
    corpus_dir=${VOXLINGUA107:-}
    [[ -n ${corpus_dir}${downloads} ]] \
      || die "db.sh:$(grep -n '^VOXLINGUA107=' db.sh | cut -d: -f1): VOXLINGUA107 is empty" \
        "(write there where the corpus is, or where to download it to)"
    options=(--url "${VOXLINGUA107_URL}" --stage "${stage:-1}" --stop_stage "${stop_stage:-6}" "${noises[@]}")
    ;;
  noises) corpus_dir="" options=("${noises[@]}") ;;
esac
[[ -z ${downloads} || ${corpus} == noises ]] || corpus_dir=${downloads}/${corpus}
[[ -z ${corpus_dir} ]] || options+=(--corpus_dir "${corpus_dir}")

. ./path.sh
exec "${python}" -m "local.${corpus}.prepare" --datadir "${datadir}" --nj "${nj}" --dry_run "${dry_run}" \
  ${options[@]+"${options[@]}"}
