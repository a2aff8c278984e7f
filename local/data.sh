#!/usr/bin/env bash
# Stage 1: prepare the data directories of a corpus. local/data.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."

## Data
corpus=auto   # auto|@corpora: corpus to prepare; auto: voxlingua107 if db.sh has its directory, otherwise mini
datadir=data  # path: directory for the data directories
downloads=    # path: directory for recordings, with a folder per corpus; by default, the directories in db.sh
nj=2          # int+: number of processes
dry_run=false # bool: only report what would be done
# end of options

. utils/parse_options.sh
. utils/corpora.sh
. ./db.sh
find_corpora
chosen=$(given_corpus "$@")
[[ -n ${chosen} && ${chosen} != auto ]] || chosen=$(auto_corpus)
own_options=()
if [[ " ${corpora[*]} " == *" ${chosen} "* ]]; then
  own_options=("local/${chosen}/corpus.sh") options_of=" of corpus ${chosen}"
fi
parse_options "Prepare the data directories of a corpus. With --corpus NAME --help: the options of that corpus.

Corpora
$(describe_corpora)" local/data.sh ${own_options[@]+"${own_options[@]}"} -- "$@"

if [[ ${corpus} == auto ]]; then
  corpus=${chosen}
  echo "Corpus: ${corpus} (--corpus chooses another)" >&2
fi
read_corpus "${corpus}"
[[ -f local/${corpus}/prepare.py ]] || die "local/${corpus}/prepare.py: missing (see docs/adding_a_corpus.md)"
if [[ -n ${downloads} && (-n ${corpus_dir} || -n ${db_variable}) ]]; then
  corpus_dir=${downloads}/${corpus}
elif [[ -z ${corpus_dir} && -n ${db_variable} ]]; then
  die "$(no_corpus_dir)" \
    "(set it to the directory that contains the corpus, or to which it should be downloaded)"
fi
[[ -z ${corpus_dir} ]] || prepare_options+=(--corpus_dir "${corpus_dir}")

. ./path.sh
exec "${python}" -m "local.${corpus}.prepare" --datadir "${datadir}" --nj "${nj}" --dry_run "${dry_run}" \
  ${prepare_options[@]+"${prepare_options[@]}"} ${options_given[@]+"${options_given[@]}"}
