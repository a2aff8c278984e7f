# shellcheck shell=bash
# Find the corpora of the recipe: directories local/NAME with a file corpus.sh. See docs/adding_a_corpus.md.

# Fill the array "corpora" with the names of all corpora; with the argument "with_sets", only those with training sets.
find_corpora() {
  local file name
  corpora=()
  set +f # the scripts of the recipe disable the expansion of "*"
  for file in local/*/corpus.sh; do
    name=${file#local/} name=${name%/corpus.sh}
    [[ -f ${file} ]] || continue
    [[ ${name} =~ ^[a-z][a-z0-9_]*$ && ${name} != auto ]] \
      || die "${file}: '${name}' is not a valid corpus name (use lower-case letters, digits and _, and not 'auto')"
    [[ ${1:-} != with_sets || $'\n'$(<"${file}") == *$'\n'lid_options=* ]] || continue
    corpora+=("${name}")
  done
  set -f
}

# Print the names and summaries of the corpora in the array "corpora", for --help.
describe_corpora() {
  local name line summary
  for name in "${corpora[@]}"; do
    summary=""
    while IFS= read -r line; do
      [[ ! ${line} =~ ^summary=\"(.*)\"$ ]] || summary=${BASH_REMATCH[1]}
    done <"local/${name}/corpus.sh"
    printf '  %-16s %s\n' "${name}" "${summary}"
  done
}

# Print the corpus for "auto": VoxLingua107 if db.sh has its directory, otherwise mini.
auto_corpus() {
  [[ -n ${VOXLINGUA107:-} ]] && echo voxlingua107 || echo mini
}

# Print the value of --corpus in the arguments, or nothing if it is not given.
given_corpus() {
  local value=""
  while (($#)); do
    case $1 in
      --corpus) value=${2:-} ;;
      --corpus=*) value=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "${value}"
}

# Print the place in db.sh where the directory of the corpus that was read is to be written, and that it is empty.
no_corpus_dir() {
  printf 'db.sh:%s: %s is empty' "$(grep -n "^${db_variable}=" db.sh | cut -d: -f1)" "${db_variable}"
}

# Read local/$1/corpus.sh into corpus_dir, db_variable, corpus_folds, lid_options and prepare_options, for fold $2.
# LC_ALL=C: if the locale is not installed, bash prints a warning, which would be taken for a setting.
read_corpus() {
  local file="local/$1/corpus.sh" settings said
  # shellcheck disable=SC2034  # for the caller
  corpus_dir="" db_variable="" corpus_folds=0 lid_options=() prepare_options=()
  settings=$(LC_ALL=C utils/corpus_settings.sh "$1" "${2:-1}" 2>&1) || {
    said=${settings%%$'\n'*} said=${said#"${file}: "}
    die "${file}: ${said:-exited with an error} (see docs/adding_a_corpus.md)"
  }
  eval "${settings}"
}

# Exit unless the corpus that was read has the folds that the options of run.sh ask for.
check_folds() {
  # shellcheck disable=SC2154  # options of run.sh
  if ((corpus_folds == 0)); then
    ((fold == 1)) && [[ ${folds} == one ]] || die "$0: corpus ${corpus} has no folds (leave out --fold and --folds)"
    return 0
  fi
  ((fold <= corpus_folds)) || die "$0: --fold ${fold}: corpus ${corpus} has ${corpus_folds} folds"
  [[ ${folds} == one ]] || [[ " ${options_given[*]-} " != *" --"@(lid_exp|test_sets|expdir)" "* ]] \
    || die "$0: --folds all: each fold has its own test set and experiment (leave out --lid_exp, --expdir and --test_sets)"
}

# Print the value of option $1 in lid_options.
option_of() {
  local n
  for ((n = 0; n + 1 < ${#lid_options[@]}; n++)); do
    [[ ${lid_options[n]} != "$1" ]] || printf '%s' "${lid_options[n + 1]}"
  done
}
