#!/usr/bin/env bash
# Train and test three systems on the same clips, in five folds by video: Whisper as it is, Whisper corrected, and a
# model from scratch. Then print the command that compares them. The arguments are further options of run.sh for all.
#
#   local/voxlingua107_dev/three_systems.sh                           # needs openai/whisper-base from the Hub
#   WHISPER=FOLDER local/voxlingua107_dev/three_systems.sh --nj 4     # Whisper from a folder, or of another size
set -euo pipefail
unset CDPATH
cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.."

corpus=voxlingua107_dev
printf -v whisper -- '--frontend_conf.path_or_url %q' "${WHISPER:-openai/whisper-base}"

# Run the recipe in all folds with configuration conf/$1.yaml and further options.
run_folds() {
  local name=$1
  ./run.sh --corpus "${corpus}" --folds all --stop_stage 7 --lid_config "conf/${name}.yaml" "${@:2}"
}

for system in whisper_bare whisper_correction; do
  run_folds "${system}" --feats_type extracted --feats_copies 3 --lid_args "${whisper}" "$@"
done
run_folds voxlingua107_dev_ecapa "$@"

whole="all_${corpus}"
printf 'lid compare --data_dir %q --systems' "dump/${corpus}/raw/${whole}"
for system in whisper_bare_extracted whisper_correction_extracted voxlingua107_dev_ecapa_raw; do
  printf ' %q' "exp/${corpus}/all_folds/lid_${system}/inference/valid.accuracy.best/${whole}"
done
printf ' --names whisper,corrected,scratch\n'
