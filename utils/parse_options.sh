#!/usr/bin/env bash
# Command-line options: parsing, checking and --help from one block of declarations.
#
# A script declares its options as assignments above a line "# end of options":
#
#   ## General
#   stage=1         # int+: first stage to run
#   audio_format=wav  # wav|flac: format of the audio
#   # end of options
#   . utils/parse_options.sh
#   parse_options "what the script does" FILE... -- "$@"
#
# FILE is the script itself; options of further files are added. A type is one of the names below or a
# literal word, or several of them joined by "|". The value must have one of these types:
#   int    whole number, at least 0         float   number, at least 0
#   int+   whole number, at least 1         bool    true or false
#   ints   whole numbers, at least 0        floats  numbers, at least 0
#   word   one word, or empty               list    words
#   text   any text, or empty               path    file or directory
#   args   further options                  rate    sampling rate: 16000 or 16k
#   @name  one of the words in the array "name"
# Whole numbers have no leading zeros. Lists are separated by spaces.
#
# Each given option sets the variable of its name. Given options that are declared in files after the first are
# also added to the array options_given as "--name" "value", to be passed on. options_of, if set, is added to the
# message about an unknown option, e.g. " of corpus mini".

if ((BASH_VERSINFO[0] < 4)); then
  echo "error: bash ${BASH_VERSION} is too old (install bash 4 or later)" >&2
  exit 2
fi

# Exit with code 2 and a one-line message about a user error.
die() {
  local said="$*"
  printf 'error: %s\n' "${said//$'\n'/ }" >&2
  exit 2
}

# Read the declarations of FILE... into option_names and, by name, option_files, option_groups, option_types,
# option_defaults and option_helps.
read_declarations() {
  local file line group pattern='^([a-z][a-z0-9_]*)=(.*[^ ]|) +# ([^ ]+): (.*)$'
  option_names=() options_given=()
  declare -gA option_files=() option_groups=() option_types=() option_defaults=() option_helps=()
  for file in "$@"; do
    group=""
    while IFS= read -r line && [[ ${line} != "# end of options" ]]; do
      if [[ ${line} == "## "* ]]; then
        group=${line#"## "}
      elif [[ -n ${group} && ${line} =~ ${pattern} ]]; then
        [[ -z ${option_files[${BASH_REMATCH[1]}]:-} ]] \
          || die "${file}: option --${BASH_REMATCH[1]} is declared twice (first in ${option_files[${BASH_REMATCH[1]}]})"
        option_names+=("${BASH_REMATCH[1]}")
        option_files[${BASH_REMATCH[1]}]=${file}
        option_groups[${BASH_REMATCH[1]}]=${group}
        option_defaults[${BASH_REMATCH[1]}]=$(unquoted "${BASH_REMATCH[2]}")
        option_helps[${BASH_REMATCH[1]}]=${BASH_REMATCH[4]}
        option_types[${BASH_REMATCH[1]}]=$(listed_types "${BASH_REMATCH[3]}")
      fi
    done <"${file}"
  done
}

# Print a type with each "@name" replaced by the words in the array "name", if there is one.
listed_types() {
  local type types array result=""
  IFS='|' read -ra types <<<"$1"
  for type in "${types[@]}"; do
    array="${type#@}[@]"
    if [[ ${type} == @* ]] && declare -p "${type#@}" &>/dev/null; then
      result+=$(printf '|%s' "${!array}")
    else
      result+="|${type}"
    fi
  done
  printf '%s' "${result#|}"
}

# Print a declared default without its quotes, or nothing if it comes from the environment.
unquoted() {
  local text=${1#\"}
  [[ ${text} == "\${"* ]] || printf '%s' "${text%\"}"
}

# Parse the arguments after "--" by the declarations in the files before it. $1 says what the script does.
parse_options() {
  local purpose=$1 files=() name value
  shift
  while [[ $1 != -- ]]; do
    files+=("$1")
    shift
  done
  shift
  read_declarations "${files[@]}"
  while (($#)); do
    case $1 in
      -h | --help)
        print_help "${purpose}"
        exit 0
        ;;
      --?*) name=${1#--} ;;
      *) die "$0: unexpected argument '$1' (options have the form --name value; see --help)" ;;
    esac
    name=${name%%=*} name=${name//-/_}
    [[ -n ${option_types[${name}]:-} ]] \
      || die "$0: unknown option --${name}${options_of:-} ($(advice "${name}"))"
    if [[ $1 == *=* ]]; then
      value=${1#*=}
    else
      (($# > 1)) || die "$0: --${name} needs a value (${option_types[${name}]})"
      value=$2
      shift
    fi
    shift
    check_value "${name}" "${value}"
    printf -v "${name}" '%s' "${value}"
    [[ ${option_files[${name}]} == "${files[0]}" ]] || options_given+=("--${name}" "${value}")
  done
}

# Exit unless the value $2 has the type of option $1.
check_value() {
  local name=$1 value=$2 type types
  IFS='|' read -ra types <<<"${option_types[${name}]}"
  for type in "${types[@]}"; do
    ! fits "${type}" "${value}" || return 0
  done
  die "$0: --${name}: '${value}' is not valid (give $(describe "${option_types[${name}]}"))"
}

# Succeed if the value $2 has type $1, or is the literal word $1.
fits() {
  local type=$1 value=$2
  case ${type} in
    # No leading zeros: bash would read 010 as 8.
    int) [[ ${value} =~ ^(0|[1-9][0-9]{0,8})$ ]] ;;
    int+) [[ ${value} =~ ^[1-9][0-9]{0,8}$ ]] ;;
    ints) [[ ${value} =~ ^[[:blank:]]*((0|[1-9][0-9]{0,8})([[:blank:]]+|$))*$ ]] ;;
    float) [[ ${value} =~ ^([0-9]+\.?[0-9]*|\.[0-9]+)([eE]-?[0-9]+)?$ ]] ;;
    floats) [[ ${value} =~ ^[[:blank:]]*(([0-9]+\.?[0-9]*|\.[0-9]+)([[:blank:]]+|$))*$ ]] ;;
    bool) [[ ${value} == true || ${value} == false ]] ;;
    text | list | path | rate) [[ ${value} != --* ]] ;;
    word) [[ ${value} != --* && ! ${value} =~ [[:space:]] ]] ;;
    args) split_words "${value}" ;;
    *) [[ ${value} == "${type}" ]] ;;
  esac
}

# Print a description of the type $1.
describe() {
  local text=" ${1//|/ or }"
  text=${text// int+/ a whole number of at least 1}
  text=${text// ints/ whole numbers separated by spaces}
  text=${text// int/ a whole number}
  text=${text// floats/ numbers separated by spaces}
  text=${text// float/ a number of at least 0}
  text=${text// bool/ true or false}
  text=${text// rate/ a sampling rate such as 16k}
  text=${text// text/ text}
  text=${text// word/ a word without spaces}
  text=${text// list/ words separated by spaces}
  text=${text// path/ a path}
  text=${text// args/ options with balanced quotes}
  printf '%s' "${text# }"
}

# Print advice about the unknown option $1: the most similar known option if it is a likely typing error, or a hint at
# --help.
advice() {
  local known near="" distance least=$((${#1} / 5 + 2))
  for known in "${option_names[@]}"; do
    distance=$(edit_distance "$1" "${known}")
    ((distance >= least)) || { least=${distance} near=${known}; }
  done
  [[ -n ${near} ]] && echo "did you mean '--${near}'?" || echo "see --help"
}

# Print the Levenshtein distance between two words.
edit_distance() {
  local a=$1 b=$2 i j change above
  local -a row=()
  for ((j = 0; j <= ${#b}; j++)); do row[j]=${j}; done
  for ((i = 1; i <= ${#a}; i++)); do
    above=${row[0]} row[0]=${i}
    for ((j = 1; j <= ${#b}; j++)); do
      [[ ${a:i-1:1} == "${b:j-1:1}" ]] && change=${above} || change=$((above + 1))
      above=${row[j]}
      ((change <= above + 1)) || change=$((above + 1))
      ((change <= row[j - 1] + 1)) || change=$((row[j - 1] + 1))
      row[j]=${change}
    done
  done
  echo "${row[${#b}]}"
}

# Print the purpose $1 and all options with their descriptions, types and defaults.
print_help() {
  local name group=""
  printf 'usage: %s [--name value]...\n\n%s\n' "$0" "$1"
  for name in "${option_names[@]}"; do
    if [[ ${option_groups[${name}]} != "${group}" ]]; then
      group=${option_groups[${name}]}
      printf '\n%s\n' "${group}"
    fi
    printf '  --%-26s %s [%s] (default: %s)\n' "${name}" "${option_helps[${name}]}" \
      "${option_types[${name}]}" "${option_defaults[${name}]:-none}"
  done
}

# Split the text $1 at white space into the array "words". Quotes work as in a shell; there is no expansion.
# Fail if a quote is not closed.
split_words() {
  local lines
  words=()
  [[ $1 =~ [^[:space:]] ]] || return 0
  # The extra last line protects empty words at the end, which $(...) would remove.
  lines=$(xargs printf '%s\n' <<<"$1" 2>/dev/null && echo end) || return
  # shellcheck disable=SC2034  # for the caller
  mapfile -t words <<<"${lines%$'\n'end}"
}
