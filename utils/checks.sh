# shellcheck shell=bash
# What lid.sh checks before any work starts. All functions use its options and variables.
# shellcheck disable=SC2154  # the variables are set by lid.sh

# Exit before any work starts if a stage to run lacks an option or an input.
check_needs() {
  local set n
  ((stage < 9)) || due 9 || due 10 || die "$0: stages 9 and 10 are skipped (add --skip_packing false or --skip_upload_hf false)"
  ! due 10 || [[ -n ${hf_repo} ]] || die "$0: --hf_repo is missing (stage 10 needs it: USER/NAME)"
  [[ -z ${hf_repo} || ${hf_repo} =~ ^[^/]+/[^/]+$ ]] || die "$0: --hf_repo ${hf_repo}: not a repository name (give USER/NAME)"
  ((stage <= stop_stage)) || die "$0: --stage ${stage} is after --stop_stage ${stop_stage}"
  for n in 2 3 4 5; do
    ! due "${n}" || "${skip_train}" || [[ -n ${source_set} ]] || die "$0: --train_set is missing (stage ${n} needs it)"
  done
  for n in 3 4 5; do
    ! due "${n}" || "${skip_train}" || [[ -n ${valid_set} ]] || die "$0: --valid_set is missing (stage ${n} needs it)"
  done
  for n in 6 7; do
    ! due "${n}" || [[ ${test_sets} =~ [^[:blank:]] ]] || die "$0: --test_sets is missing (stage ${n} needs it)"
  done
  ! due 7 || [[ -z ${policy} || -f ${policy} ]] || die "$0: --policy ${policy}: does not exist (give a policy file)"
  ! { due 9 || due 10; } || [[ -z ${packed_onnx} || -f ${packed_onnx} ]] \
    || die "$0: --packed_onnx ${packed_onnx}: does not exist (write it with lid export --format onnx)"
  [[ ${calibration} == none ]] || ! due 7 || [[ -n ${valid_set} ]] || die "$0: --valid_set is missing (--calibration needs it)"
  ! due 8 || [[ -n ${tsne_set} ]] || die "$0: --tsne_set is missing (stage 8 needs it, or --test_sets)"
  [[ -z ${parent_set} ]] || ! changed speed_perturb_factors \
    || die "$0: --parent_set ${parent_set} has no copies at other speeds (leave out --speed_perturb_factors)"
  ((feats_copies == 0)) || [[ ${feats_type} == extracted ]] || die "$0: --feats_copies needs --feats_type extracted"
  [[ ${feats_type} != extracted || -n ${lid_config} ]] || ! due 4 || die "$0: --lid_config is missing (stage 4 needs it to extract features)"
  if due 5; then
    [[ -n ${lid_config} ]] || die "$0: --lid_config is missing (stage 5 needs it)"
  elif { due 6 || due 9 || due 10; } && [[ ! -f ${lid_exp}/${inference_model} ]]; then
    die "$0: --inference_model: ${lid_exp}/${inference_model}: does not exist (run stage 5, or give another checkpoint)"
  fi
  ! due 5 || [[ -z ${distill_from} || -e ${distill_from} ]] \
    || die "$0: --distill_from ${distill_from}: does not exist (give a model; lid import fetches one from the Hugging Face Hub)"
  if due 3 && ! due 1; then
    for set in $(sets_to_format); do
      if due 2 && [[ ${set} == "${train_set}" ]]; then set=${source_set}; fi
      [[ -d ${datadir}/${set} ]] || die "$0: ${datadir}/${set}: does not exist (run stage 1, or give --datadir)"
    done
  fi
}

# Exit before any work starts if a stage to run lacks the output of an earlier stage.
check_inputs() {
  local set made_in=3
  ! due 2 || made_by 1 "${datadir}/${source_set}" train_set
  if due 4; then
    made_by 3 "${audio_feats}/${train_set}" train_set
    made_by 3 "${audio_feats}/${valid_set}" valid_set
  elif due 5; then
    [[ ${feats_type} != extracted ]] || made_in=4
    made_by "${made_in}" "${data_feats}/${train_set}" train_set
    made_by "${made_in}" "${data_feats}/${valid_set}" valid_set
    made_by 4 "${stats_dir}/train" expdir
  fi
  for set in ${test_sets}; do
    ! due 6 || made_by 3 "${audio_feats}/${set}" test_sets
    ! due 7 || [[ -n ${pooled_folds} ]] || made_by 6 "${inference_dir}/${set}/${set}_lids" test_sets
  done
  [[ ${calibration} == none ]] || ! due 7 || made_by 3 "${audio_feats}/${valid_set}" valid_set
  ! due 8 || made_by 3 "${audio_feats}/${tsne_set}" tsne_set
}

# Read the corpus that stage 1 prepares: its name into "corpus", and its settings. Fail if stage 1 is not due, or if
# local/data.sh is a site's own that has no such corpus.
read_stage_1_corpus() {
  local words
  due 1 || return 1
  split_words "${local_data_opts}"
  corpus=$(given_corpus ${words[@]+"${words[@]}"})
  [[ -n ${corpus} && ${corpus} != auto ]] || corpus=$(. ./db.sh && auto_corpus)
  [[ -f local/${corpus}/corpus.sh ]] || return 1
  read_corpus "${corpus}"
}

# Exit before any work starts if stage 1 prepares another corpus than that of the sets.
check_corpus() {
  local corpus corpora corpus_dir db_variable lid_options prepare_options other set fault
  read_stage_1_corpus || return 0
  find_corpora with_sets
  for set in "${source_set}" "${valid_set}" ${test_sets}; do
    [[ -n ${set} && ! -d ${datadir}/${set} && " ${lid_options[*]} " != *" ${set} "* ]] || continue
    for other in "${corpora[@]}"; do
      fault=$(other_corpus "${other}" "${set}" 2>/dev/null) || continue
      [[ -z ${fault} ]] || die "${fault}"
    done
  done
}

# If corpus $1 has set $2, print that stage 1 prepares another corpus, and how to choose this one.
other_corpus() {
  local instead="stage 1 would prepare ${corpus} instead of $2"
  read_corpus "$1"
  [[ " ${lid_options[*]} " == *" $2 "* ]] || return 0
  if [[ -n ${db_variable} && -z ${corpus_dir} ]]; then
    echo "$(no_corpus_dir), and ${instead} (set it to the directory that contains the corpus, or to which it should be downloaded)"
  else
    echo "$0: ${instead} (add --local_data_opts \"--corpus $1\")"
  fi
}

# Print the lists of noises and rooms that stage 1 will make.
sounds_to_come() {
  local corpus corpus_dir db_variable lid_options prepare_options n
  read_stage_1_corpus || return 0
  for ((n = 0; n + 1 < ${#prepare_options[@]}; n++)); do
    [[ -n ${prepare_options[n + 1]} ]] || continue
    case ${prepare_options[n]} in
      --musan) printf '%s\n' "${datadir}/musan_"{music,noise,speech}.scp ;;
      --rirs_noises) printf '%s\n' "${datadir}/rirs.scp" ;;
    esac
  done
}

# Check option values in Python, and count the cores. Count the GPUs only if a stage to run may use them.
check_values() {
  local counts count_gpus=false n
  for n in 4 5 6 8; do
    ! due "${n}" || count_gpus=true
  done
  [[ -z ${crop_seconds} && ${calibration} == none ]] || ! due 7 || count_gpus=true
  counts=$("${python}" pyscripts/check_options.py --fs "${fs}" --speed_perturb_factors "${speed_perturb_factors}" \
    --max_failed "${max_failed}" --crop_seconds "${crop_seconds}" --perplexity "${perplexity}" --max_iter "${max_iter}" --count_gpus "${count_gpus}")
  read -r cores gpus <<<"${counts}"
  [[ ${nj} != auto ]] || nj=${cores}
  [[ ${ngpu} == auto ]] || gpus=${ngpu}
  [[ ${gpu_inference} != auto ]] || gpu_inference=$( ((gpus > 0)) && echo true || echo false)
}

# Exit before any work starts if stage 5 would reject the configuration. Set config_notes to its differences from ESPnet.
check_config() {
  local from_espnet=false model=""
  config_notes=""
  due 5 || return 0
  training_words
  if ((num_nodes > 1)) && trains_here && [[ -z ${PET_MASTER_ADDR:-} ]]; then
    die "$0: --num_nodes ${num_nodes}: jobs run on this machine only (choose a cluster in cmd.sh, or see docs/training.md)"
  fi
  ((${#options_given[@]} == 0)) || from_espnet=true
  if { due 6 || due 8 || due 9 || due 10; } && [[ ! -f ${lid_exp}/${inference_model} ]]; then
    model=${inference_model}
  fi
  config_notes=$("${python}" pyscripts/check_config.py --config "${lid_config}" --fs "${fs/k/000}" \
    --train_dir "${data_feats}/${train_set}" --valid_dir "${data_feats}/${valid_set}" --stats_dir "${stats_dir}" \
    --output_dir "${lid_exp}" --sounds_to_come "$(sounds_to_come)" --espnet "${from_espnet}" --inference_model "${model}" \
    ${words[@]+"${words[@]}"})
}

# Print what differs from ESPnet in this run. An option that means the same thing but acts differently is mentioned if
# it has another value than the default, or if the command line or the configuration comes from ESPnet.
print_espnet_notes() {
  local n notes=() from_espnet=false
  for ((n = 0; n < ${#options_given[@]}; n += 2)); do
    notes+=("${options_given[n]} has no effect: ${option_helps[${options_given[n]#--}]}")
  done
  [[ -z ${notes[*]-}${config_notes} ]] || from_espnet=true
  if due 2; then
    notes+=("copies at another speed are named sp0.9-UTTERANCE, not UTTERANCE-sp0.9")
  fi
  if due 3 && ! "${skip_train}" && { "${from_espnet}" || changed min_wav_duration || changed max_wav_duration; }; then
    notes+=("--min_wav_duration ${min_wav_duration} and --max_wav_duration ${max_wav_duration} act on training and validation sets; ESPnet ignores them")
  fi
  [[ -z ${config_notes} ]] || mapfile -t -O "${#notes[@]}" notes <<<"${config_notes}"
  ((${#notes[@]} == 0)) || printf '%s\n' "Different from ESPnet (docs/espnet.md):" "${notes[@]/#/  }" >&2
}

# Succeed if the value of option $1 is not its default.
changed() {
  [[ ${!1} != "${option_defaults[$1]}" ]]
}
