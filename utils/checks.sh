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
  ! due 8 || [[ -n ${tsne_set} ]] || die "$0: --tsne_set is missing (stage 8 needs it, or --test_sets)"
  ((feats_copies == 0)) || [[ ${feats_type} == extracted ]] || die "$0: --feats_copies needs --feats_type extracted"
  [[ ${feats_type} != extracted || -n ${lid_config} ]] || ! due 4 || die "$0: --lid_config is missing (stage 4 needs it to extract features)"
  if due 5; then
    [[ -n ${lid_config} ]] || die "$0: --lid_config is missing (stage 5 needs it)"
  elif { due 6 || due 9 || due 10; } && [[ ! -f ${lid_exp}/${inference_model} ]]; then
    die "$0: --inference_model: ${lid_exp}/${inference_model}: no such file (run stage 5, or give another checkpoint)"
  fi
  if due 3 && ! due 1; then
    for set in $(sets_to_format); do
      if due 2 && [[ ${set} == "${train_set}" ]]; then set=${source_set}; fi
      [[ -d ${datadir}/${set} ]] || die "$0: ${datadir}/${set}: no such directory (run stage 1, or give --datadir)"
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
    ! due 7 || made_by 6 "${inference_dir}/${set}/${set}_lids" test_sets
  done
  ! due 8 || made_by 3 "${audio_feats}/${tsne_set}" tsne_set
}

# Check option values in Python, and count the cores. Count the GPUs only if a stage to run may use them.
check_values() {
  local counts count_gpus=false n
  for n in 4 5 6 8; do
    ! due "${n}" || count_gpus=true
  done
  counts=$("${python}" pyscripts/check_options.py --fs "${fs}" --speed_perturb_factors "${speed_perturb_factors}" \
    --max_failed "${max_failed}" --perplexity "${perplexity}" --max_iter "${max_iter}" --count_gpus "${count_gpus}")
  read -r cores gpus <<<"${counts}"
  [[ ${nj} != auto ]] || nj=${cores}
  [[ ${ngpu} == auto ]] || gpus=${ngpu}
  [[ ${gpu_inference} != auto ]] || gpu_inference=$( ((gpus > 0)) && echo true || echo false)
}

# Exit before any work starts if stage 5 would reject the configuration.
check_config() {
  due 5 || return 0
  training_words
  if ((num_nodes > 1)) && trains_here && [[ -z ${PET_MASTER_ADDR:-} ]]; then
    die "$0: --num_nodes ${num_nodes}: jobs run on this machine only (choose a cluster in cmd.sh, or see docs/training.md)"
  fi
  "${python}" pyscripts/check_config.py --config "${lid_config}" --fs "${fs/k/000}" ${words[@]+"${words[@]}"}
}
