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

# Read local/$1/corpus.sh into corpus_dir, db_variable, lid_options and prepare_options.
# LC_ALL=C: if the locale is not installed, bash prints a warning, which would be taken for a setting.
read_corpus() {
  local file="local/$1/corpus.sh" settings said
  # shellcheck disable=SC2034  # for the caller
  corpus_dir="" db_variable="" lid_options=() prepare_options=()
  settings=$(LC_ALL=C utils/corpus_settings.sh "$1" 2>&1) || {
    said=${settings%%$'\n'*} said=${said#"${file}: "}
    die "${file}: ${said:-exited with an error} (see docs/adding_a_corpus.md)"
  }
  eval "${settings}"
}
