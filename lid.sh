#!/usr/bin/env bash
# Spoken language identification in ten stages, for any corpus. ./lid.sh --help lists the options.
set -efuo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")"

## General
stage=1              # int+: first stage to run
stop_stage=10000     # int+: last stage to run
skip_stages=         # ints: stages to skip, e.g. "2 8"
skip_data_prep=false # bool: skip stages 1 and 2
skip_train=false     # bool: skip stages 4 and 5, and do not format the training and validation sets
skip_eval=false      # bool: skip stages 6, 7 and 8, and do not format the test sets
skip_packing=true    # bool: skip stage 9
skip_upload_hf=true  # bool: skip stage 10
dry_run=false        # bool: print the commands, what would be done and why, but do nothing
ngpu=auto            # auto|int: number of GPUs to train on; auto: all GPUs of this machine; 0: CPU
num_nodes=1          # int+: number of machines to train on, each with ngpu GPUs
nj=auto              # auto|int+: number of parallel jobs; auto: one per core
gpu_inference=auto   # auto|bool: run identification and feature extraction on GPUs; auto: if there are any
eval_valid_set=false # bool: also identify and score the validation set
python=${python:-}   # path: Python interpreter with lid_toolkit installed; by default, path.sh finds one or creates .venv
## Data
datadir=data           # path: directory for the data directories of stages 1 and 2
dumpdir=dump           # path: directory for formatted audio and extracted features
expdir=exp             # path: directory for experiments
train_set=             # word: training set, a directory in datadir
valid_set=             # word: validation set, which selects the checkpoint
test_sets=             # list: test sets
parent_set=            # word: set that contains all others: only its audio is formatted, and only its features are extracted; the others are selected from it, and stage 6 identifies their features
local_data_opts=       # args: further options of local/data.sh
speed_perturb_factors= # floats: speed factors for the training set, from 0.1 to 10, e.g. "0.9 1.0 1.1"; if empty, stage 2 is skipped
feats_type=raw         # raw|raw_copy|extracted: model input: converted audio, references to the original audio, or features of a frozen front end
feats_copies=0         # int: number of augmented copies of the training set to extract features of; needs feats_type extracted
audio_format=wav       # wav|flac|wav.ark|flac.ark: audio format of stage 3
fs=16k                 # rate: sampling rate
min_wav_duration=1.0   # float: drop training and validation utterances shorter than this, in seconds
max_wav_duration=60.0  # float: drop training and validation utterances longer than this, in seconds; 0: no limit
verify=false           # bool: stage 3 also reads audio that is already formatted, and formats it again if it was damaged
max_failed=0.01        # float: fraction of utterances that may fail, from 0 to 1; failed utterances are skipped
allow_pipes=false      # bool: run the commands in wav.scp ("sph2pipe ... |"); only for data that you trust
## Channels
channel=mean                      # mean|int: channel to use, counted from 0, or the mean of all channels
multi_columns_input_wav_scp=false # bool: lines of wav.scp may list several files, the channels of one recording
## Training
lid_exp=                   # path: experiment directory; by default, EXPDIR/lid_TAG
lid_tag=                   # word: experiment name; by default, that of lid_config and feats_type
lid_config=                # path: training configuration (YAML)
lid_args=                  # args: configuration overrides, e.g. "--optim_conf.lr 1e-4"
selection_set=             # valid|float: data that selects the checkpoint: the validation set, or a held-out fraction of the training set; by default, as in lid_config
pretrained_model=          # path: checkpoint to initialize from: FILE or FILE:SOURCE:DESTINATION:EXCLUDED
ignore_init_mismatch=false # bool: skip weights of pretrained_model whose names or shapes do not match
distill_from=              # path: teacher, a model as for lid identify: stage 5 lets it identify the training set, and the new model learns from its answers
checkpoint_minutes=15      # float: minutes between checkpoints within an epoch
## Identification and scoring
inference_model=valid.accuracy.best.pth # word: checkpoint in the experiment directory
inference_batch_size=8                  # int+: batch size; the results do not depend on it
inference_max_duration=600.0            # float: longest utterance to identify, in seconds; longer ones are listed as failed; 0: no limit
inference_dtype=float32                 # float32|bfloat16|float16|auto: number format of identification; auto: bfloat16 on hardware with instructions for it
inference_torch_compile=false           # bool: compile the model for identification, which takes minutes in each job: for large sets on a GPU
extract_embd=false                      # bool: also write embeddings
espnet_files=false                      # bool: also write what scripts for ESPnet's recipe read: results in its format, npz files of embeddings, a map of the languages
policy=                                 # path: decision policy (YAML) of scoring; by default, the answer is the most probable language
unknown_languages=wrong                 # wrong|skip: count test utterances in languages that the model does not know as wrong, or leave them out
cluster_from=                           # text: regular expression for what ids of one speaker or recording have in common, for the intervals; by default, the speakers in utt2spk
leave_out=folds                         # folds|each|no: leave out known languages to measure how well unknown ones are told: a fifth at a time, each alone, or none
crop_seconds=                           # floats: durations in seconds of crops of the test sets that stage 7 also identifies, e.g. "1 2 3 5 10": accuracy against seconds
calibration=none                        # none|temperature|affine: fit the calibration of the scores on the validation set in stage 7, store it with the model, and report figures before and after
pooled_folds=                           # list: EXPDIR:SET of folds whose answers stage 7 joins and scores as the only test set; for run.sh --folds all
tsne_set=                               # word: set for the t-SNE plot; by default, the first test set
max_utt_per_lang_for_tsne=1000          # int+: maximum number of utterances per language in the plot
perplexity=5                            # float: t-SNE perplexity, at least 1
max_iter=1000                           # int+: number of t-SNE iterations, at least 250
## Sharing
hf_repo=        # word: Hugging Face Hub repository, USER/NAME, that stage 10 uploads to; also named in the model card
hf_license=     # word: licence in the model card; by default, that of the imported model or the pretrained encoder, if it is known; without these, apache-2.0
hf_private=true # bool: create the repository as private
hf_samples=     # args: recordings to try the model with on its page: files, which are packed, or addresses
packed_onnx=    # path: the same model, written by lid export --format onnx, to pack beside it
# end of options

. utils/parse_options.sh
parse_options "Spoken language identification in ten stages, for any corpus." lid.sh utils/espnet_options.sh -- "$@"
. utils/stages.sh
. utils/corpora.sh
. utils/checks.sh

! "${skip_data_prep}" || skip_stages+=" 1 2"
! "${skip_train}" || skip_stages+=" 4 5"
! "${skip_eval}" || skip_stages+=" 6 7 8"
! "${skip_packing}" || skip_stages+=" 9"
! "${skip_upload_hf}" || skip_stages+=" 10"
[[ ${speed_perturb_factors} =~ [^[:blank:]] ]] || skip_stages+=" 2"

source_set=${train_set}
stats_dir="${expdir}/lid_stats_${fs/%000/k}"
config_name=${lid_config##*/} config_name=${config_name%.*}
lid_tag=${lid_tag:-${config_name:-train}_${feats_type}}
if [[ ${speed_perturb_factors} =~ [^[:blank:]] ]]; then
  train_set+=_sp stats_dir+=_sp lid_tag+=_sp
fi
lid_exp=${lid_exp:-${expdir}/lid_${lid_tag}}
audio_type=${feats_type/extracted/raw}
audio_feats="${dumpdir}/${audio_type}" data_feats="${dumpdir}/${feats_type}"
[[ ${feats_type} != extracted ]] || stats_dir+=_extracted
inference_dir="${lid_exp}/inference/${inference_model%.pth}"
package="${lid_exp}/${lid_exp##*/}_${inference_model%.*}.zip"
# The same teacher answers once for all students.
teacher_dir=""
[[ -z ${distill_from} ]] || teacher_dir="${expdir}/teachers/${distill_from//\//_}/${train_set}"
! "${eval_valid_set}" || [[ " ${test_sets//[[:blank:]]/ } " == *" ${valid_set} "* ]] || test_sets+=" ${valid_set}"
if [[ -z ${tsne_set} ]]; then
  read -r tsne_set _ <<<"${test_sets}" || true
  tsne_default=true
fi

# Print the sets to format in stage 3, without duplicates.
sets_to_format() {
  local sets=()
  [[ -z ${parent_set} ]] || sets+=("${parent_set}")
  "${skip_train}" || sets+=("${train_set}" "${valid_set}")
  # shellcheck disable=SC2206  # a list of words
  "${skip_eval}" || sets+=(${test_sets} "${tsne_set}")
  printf '%s\n' ${sets[@]+"${sets[@]}"} | awk 'NF && !seen[$0]++'
}

stage_1() {
  split_words "${local_data_opts}"
  run local/data.sh --datadir "${datadir}" --nj "${nj}" --dry_run "${dry_run}" ${words[@]+"${words[@]}"}
}

stage_2() {
  needs "${datadir}/${source_set}"
  run "${python}" pyscripts/perturb_data_dir.py --factors "${speed_perturb_factors}" --dry_run "${dry_run}" \
    "${datadir}/${source_set}" "${datadir}/${train_set}"
}

stage_3() {
  local set
  for set in $(sets_to_format); do
    needs "${datadir}/${set}"
    if [[ -n ${parent_set} && ${set} != "${parent_set}" ]]; then
      select_set "${audio_feats}" "${set}"
      run "${python}" pyscripts/report_data_dir.py --dry_run "${dry_run}" "${audio_feats}/${set}"
      continue
    fi
    case "${set}" in
      "${train_set}" | "${valid_set}") format_set "${set}" "${min_wav_duration}" "${max_wav_duration}" ;;
      *) format_set "${set}" 0 0 ;; # keep every test utterance
    esac
  done
}

# Select the utterances of set $2 from the parent set in $1, with $3 augmented copies of each. Drop those of the training
# and the validation set that are too short or too long.
select_set() {
  local limits=()
  [[ $2 != "${train_set}" && $2 != "${valid_set}" ]] \
    || limits=(--min_duration "${min_wav_duration}" --max_duration "${max_wav_duration}")
  needs "${datadir}/$2" "$1/${parent_set}"
  run "${python}" pyscripts/subset_data_dir.py --utt_list "${datadir}/$2/utt2lang" --copies "${3:-0}" \
    ${limits[@]+"${limits[@]}"} --dry_run "${dry_run}" "$1/${parent_set}" "$1/$2"
}

# Format the audio of set $1. Drop utterances shorter than $2 or longer than $3 seconds.
format_set() {
  local jobs=${nj} source="${datadir}/$1" out="${audio_feats}/$1"
  hold "${out}"
  plan "${python}" pyscripts/format_audio.py plan --data_dir "${source}" --output_dir "${out}" --num_jobs "${nj}" \
    --audio_format "${audio_format}" --feats_type "${audio_type}" --fs "${fs}" \
    --min_wav_duration "$2" --max_wav_duration "$3" \
    --max_failed "${max_failed}" --allow_pipes "${allow_pipes}" --channel "${channel}" \
    --multi_columns_input_wav_scp "${multi_columns_input_wav_scp}" --verify "${verify}" --dry_run "${dry_run}"
  if ((jobs > 0)); then
    # shellcheck disable=SC2086  # train_cmd is a command and its options
    run ${train_cmd} JOB=1:"${jobs}" "${out}/logs/format.JOB.log" \
      "${python}" pyscripts/format_audio.py job --output_dir "${out}" --job JOB
    run "${python}" pyscripts/format_audio.py merge --output_dir "${out}"
  fi
  run "${python}" pyscripts/report_data_dir.py --dry_run "${dry_run}" "${out}"
}

stage_4() {
  local set
  if [[ ${feats_type} == extracted ]]; then
    if [[ -n ${parent_set} ]]; then
      extract_set "${parent_set}" "${feats_copies}"
      select_set "${data_feats}" "${train_set}" "${feats_copies}"
      select_set "${data_feats}" "${valid_set}"
      "${skip_eval}" || for set in ${test_sets}; do
        [[ ${set} == "${parent_set}" ]] || select_set "${data_feats}" "${set}"
      done
    else
      extract_set "${train_set}" "${feats_copies}"
      extract_set "${valid_set}" 0
    fi
  fi
  needs "${data_feats}/${train_set}" "${data_feats}/${valid_set}"
  run "${python}" pyscripts/collect_stats.py --train_dir "${data_feats}/${train_set}" \
    --valid_dir "${data_feats}/${valid_set}" --out "${stats_dir}" --dry_run "${dry_run}"
  [[ -z ${lid_config} ]] || collect_feature_stats
}

# Extract the frozen front end's features of set $1, and of $2 augmented copies.
extract_set() {
  local out="${data_feats}/$1" jobs=${nj} cmd=${train_cmd} resources=(--num-threads 1) gpus_each=0 task
  needs "${audio_feats}/$1"
  if "${gpu_inference}"; then
    jobs=$((gpus > 0 ? gpus : 1)) cmd=${cuda_cmd} resources+=(--gpu 1) gpus_each=1
  fi
  split_words "${lid_args}"
  task=(--config "${lid_config}" --data_dir "${audio_feats}/$1" --output_dir "${out}" --copies "$2"
    --max_failed "${max_failed}" ${words[@]+"${words[@]}"})
  hold "${out}"
  plan "${python}" pyscripts/extract_features.py plan "${task[@]}" --num_jobs "${jobs}" --dry_run "${dry_run}"
  ((jobs > 0)) || return 0
  # shellcheck disable=SC2086  # a command and its options
  run ${cmd} "${resources[@]}" JOB=1:"${jobs}" "${out}/logs/extract.JOB.log" \
    "${python}" pyscripts/extract_features.py job "${task[@]}" --num_jobs "${jobs}" --ngpu "${gpus_each}" --job JOB
  run "${python}" pyscripts/extract_features.py merge "${task[@]}"
}

# Collect the mean and variance of the training features, if the configuration normalizes with them.
collect_feature_stats() {
  local jobs=${nj} task
  needs "${stats_dir}/train"
  split_words "${lid_args}"
  task=(--config "${lid_config}" --train_dir "${data_feats}/${train_set}" --stats_dir "${stats_dir}" ${words[@]+"${words[@]}"})
  plan "${python}" pyscripts/collect_feature_stats.py plan "${task[@]}" --num_jobs "${nj}" --dry_run "${dry_run}"
  ((jobs > 0)) || return 0
  # shellcheck disable=SC2086  # train_cmd is a command and its options
  run ${train_cmd} JOB=1:"${jobs}" "${stats_dir}/logs/feature_stats.JOB.log" \
    "${python}" pyscripts/collect_feature_stats.py job "${task[@]}" --num_jobs "${jobs}" --job JOB
  run "${python}" pyscripts/collect_feature_stats.py merge "${task[@]}"
}

# Fill the array "words" with the overrides of the training configuration.
training_words() {
  split_words "${lid_args}"
  [[ -z ${selection_set} ]] || words+=(--selection_set "${selection_set}")
  [[ -z ${pretrained_model} ]] || words+=(--init_param "${pretrained_model}")
  ! "${ignore_init_mismatch}" || words+=(--ignore_init_mismatch true)
  [[ -z ${distill_from} ]] || words+=(--distill_from "${distill_from}" --teacher_dir "${teacher_dir}")
}

# Succeed if stage 5 runs on this machine rather than through a cluster's queue.
trains_here() {
  [[ ${cuda_cmd} == "utils/jobs.sh local"* ]]
}

stage_5() {
  local launch=() jobs=1 task
  [[ -z ${distill_from} ]] || identify "${distill_from}" "${audio_feats}/${train_set}" "${teacher_dir}" true
  needs "${stats_dir}/train" ${teacher_dir:+"${teacher_dir}/scores.scp"}
  training_words
  task=("${python}" pyscripts/train.py --config "${lid_config}" --dry_run "${dry_run}"
    --train_dir "${data_feats}/${train_set}" --valid_dir "${data_feats}/${valid_set}"
    --stats_dir "${stats_dir}" --output_dir "${lid_exp}" --ngpu "${ngpu}"
    --num_nodes "${num_nodes}" --checkpoint_minutes "${checkpoint_minutes}"
    ${words[@]+"${words[@]}"})
  # On this machine, training runs without a job backend, so that its progress bar is shown.
  if ! "${dry_run}" && ! trains_here; then
    # Do not queue a training that is already finished.
    plan "${task[@]}" --plan true
    ((jobs > 0)) || return 0
    # shellcheck disable=SC2206  # cuda_cmd is a command and its options
    launch=(${cuda_cmd} --gpu "${gpus}")
    ((num_nodes == 1)) || launch+=(--num-nodes "${num_nodes}")
    launch+=("${lid_exp}/logs/train.log")
  fi
  run ${launch[@]+"${launch[@]}"} "${task[@]}"
}

# Identify the utterances of set $1; also write embeddings if $2 is true. With $3, identify crops of $3 seconds.
infer_set() {
  local source="${audio_feats}"
  # Extracted features of all sets are there, but those of a whole utterance cannot be cropped.
  [[ -z ${parent_set} || -n ${3:-} ]] || source=${data_feats}
  identify "${lid_exp}/${inference_model}" "${source}/$1" "${inference_dir}/$1" "$2" ${3:+"$3"}
}

# Identify with model $1 the utterances of the formatted set $2, and write the answers to $3; also embeddings if $4 is
# true. With $5, identify crops of $5 seconds.
identify() {
  local out=$3 jobs=${nj} cmd=${train_cmd} resources=(--num-threads 1) gpus_each=0 task job_log
  needs "$2" "$1"
  if "${gpu_inference}"; then
    jobs=$((gpus > 0 ? gpus : 1)) cmd=${cuda_cmd} resources+=(--gpu 1) gpus_each=1
  fi
  task=(--model "$1" --data_dir "$2" --output_dir "${out}"
    --extract_embd "$4" --espnet_files "${espnet_files}" --max_failed "${max_failed}" --max_duration "${inference_max_duration}"
    --dtype "${inference_dtype}" --num_jobs "${jobs}" ${5:+--crop_seconds "$5"})
  job_log="${out}/logs${5:+/crops_$5s}/infer.JOB.log"
  hold "${out}"
  plan "${python}" pyscripts/infer.py plan "${task[@]}" --dry_run "${dry_run}"
  ((jobs > 0)) || return 0
  # shellcheck disable=SC2086  # a command and its options
  run ${cmd} "${resources[@]}" JOB=1:"${jobs}" "${job_log}" \
    "${python}" pyscripts/infer.py job "${task[@]}" --batch_size "${inference_batch_size}" --ngpu "${gpus_each}" \
    --torch_compile "${inference_torch_compile}" --job JOB
  run "${python}" pyscripts/infer.py merge "${task[@]}"
}

stage_6() {
  local set
  for set in ${test_sets}; do
    infer_set "${set}" "${extract_embd}"
  done
}

# Fit the calibration of the model on the validation set, which chose the checkpoint.
fit_calibration() {
  infer_set "${valid_set}" "${extract_embd}"
  needs "${inference_dir}/${valid_set}/scores.scp"
  run "${python}" pyscripts/calibrate.py --model "${lid_exp}/${inference_model}" --data_dir "${audio_feats}/${valid_set}" \
    --scores "${inference_dir}/${valid_set}" --method "${calibration}" --only_selection_set true --dry_run "${dry_run}"
}

# Join the answers to the test sets of folds to those to set $1.
pool_folds() {
  local fold results=()
  for fold in ${pooled_folds}; do
    results+=("${fold%:*}${inference_dir#"${expdir}"}/${fold##*:}")
  done
  needs "${results[@]}"
  run "${python}" pyscripts/pool.py --data_dir "${audio_feats}/$1" --output_dir "${inference_dir}/$1" \
    --dry_run "${dry_run}" "${results[@]}"
}

stage_7() {
  local set seconds calibrated=()
  [[ -z ${pooled_folds} ]] || crop_seconds="" calibration=none # each fold has another model
  if [[ ${calibration} != none ]]; then
    fit_calibration
    [[ ! -f ${lid_exp}/policy.yaml ]] || calibrated=(--calibration "${lid_exp}/policy.yaml")
  fi
  for set in ${test_sets}; do
    for seconds in ${crop_seconds}; do
      infer_set "${set}" false "${seconds}"
    done
    [[ -z ${pooled_folds} ]] || pool_folds "${set}"
    needs "${inference_dir}/${set}/${set}_lids"
    run "${python}" pyscripts/score.py --data_dir "${audio_feats}/${set}" --inference_dir "${inference_dir}/${set}" \
      ${policy:+--policy "${policy}"} --unknown_languages "${unknown_languages}" --leave_out "${leave_out}" \
      ${crop_seconds:+--crop_seconds "${crop_seconds}"} ${calibrated[@]+"${calibrated[@]}"} \
      ${cluster_from:+--cluster_from "${cluster_from}"} --espnet_files "${espnet_files}" --dry_run "${dry_run}"
  done
}

stage_8() {
  [[ -z ${tsne_default:-} ]] \
    || log "the first test set, ${tsne_set}, is plotted (ESPnet plots the training set: --tsne_set ${train_set:-TRAIN_SET})"
  infer_set "${tsne_set}" true
  needs "${inference_dir}/${tsne_set}/embeddings.scp"
  run "${python}" pyscripts/plot_tsne.py --data_dir "${audio_feats}/${tsne_set}" \
    --inference_dir "${inference_dir}/${tsne_set}" --perplexity "${perplexity}" --max_iter "${max_iter}" \
    --max_utt_per_lang_for_tsne "${max_utt_per_lang_for_tsne}" --espnet_files "${espnet_files}" --dry_run "${dry_run}"
}

# Print the training command for the model card, with all options that differ from their defaults.
training_command() {
  local name value
  printf ./lid.sh
  for name in train_set valid_set speed_perturb_factors feats_type feats_copies fs min_wav_duration max_wav_duration \
    channel lid_config lid_args selection_set pretrained_model ignore_init_mismatch distill_from; do
    value=${!name}
    [[ ${name} != train_set ]] || value=${source_set}
    [[ ${value} == "${option_defaults[${name}]}" ]] || printf ' --%s %q' "${name}" "${value}"
  done
}

# Pack the model unless the zip is up to date.
pack_model() {
  local set inference_dirs=()
  for set in ${test_sets}; do
    inference_dirs+=("${inference_dir}/${set}")
  done
  needs "${lid_exp}/${inference_model}"
  split_words "${hf_samples}"
  run "${python}" pyscripts/pack.py --model "${lid_exp}/${inference_model}" --output "${package}" \
    --inference_dirs ${inference_dirs[@]+"${inference_dirs[@]}"} --hf_repo "${hf_repo}" --hf_license "${hf_license}" \
    ${packed_onnx:+--onnx "${packed_onnx}"} --samples ${words[@]+"${words[@]}"} \
    --datasets ${source_set:+"${source_set}"} --command "$(training_command)" --dry_run "${dry_run}"
}

stage_9() { pack_model; }

stage_10() {
  pack_model
  needs "${package}"
  run "${python}" pyscripts/upload_hf.py --package "${package}" --hf_repo "${hf_repo}" --hf_private "${hf_private}" \
    --dry_run "${dry_run}"
}

check_needs
check_inputs
check_corpus
. ./path.sh || exit $?
check_values
. ./cmd.sh || exit $?
check_config || exit $?
print_espnet_notes
run_stages "prepare data" "perturb speed" "format audio" "collect statistics" "train" \
  "identify and embed" "score" "draw t-SNE" "pack the model" "upload the model"

pictures=()
for set in ${test_sets}; do
  ! due 7 || pictures+=("${inference_dir}/${set}/"{results,confusion.png,report.html})
done
! due 8 || pictures+=("${inference_dir}/${tsne_set}/tsne_plots/"tsne.{png,html})
! due 9 || pictures+=("${package}")
look_at ${pictures[@]+"${pictures[@]}"}
