#!/usr/bin/env bash
# Print the options declared in scripts as Markdown tables: utils/options_table.sh run.sh lid.sh
set -efuo pipefail
# shellcheck source=utils/parse_options.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/parse_options.sh"

read_declarations "$@"
group=""
for name in "${option_names[@]}"; do
  if [[ ${option_groups[${name}]} != "${group}" ]]; then
    group=${option_groups[${name}]}
    printf '\n### %s\n\n| option | default | value | meaning |\n|---|---|---|---|\n' "${group}"
  fi
  default=${option_defaults[${name}]:+"\`${option_defaults[${name}]}\`"}
  # shellcheck disable=SC2016  # Markdown backquotes
  values=${option_types[${name}]//|/, } values=${values//@corpora/a directory in \`local/\`}
  # shellcheck disable=SC2016
  printf '| `--%s` | %s | %s | %s |\n' "${name}" "${default}" "${values}" "${option_helps[${name}]}"
done
