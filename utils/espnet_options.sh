# shellcheck shell=bash disable=SC2034
# Options of ESPnet's lid.sh that do nothing here, so that its command lines run unchanged. lid.sh prints the text of
# each option that is given.

## Options of ESPnet that have no effect
checkpoint_interval=1000           # int+: identification resumes from its finished parts; --checkpoint_minutes is for training
save_every=1000                    # int+: the former name of checkpoint_interval; identification resumes from its finished parts
fold_length=120000                 # int+: batch_bins in the training configuration limits the batches
multi_columns_output_wav_scp=false # bool: formatted audio has one channel, which --channel chooses
# end of options
