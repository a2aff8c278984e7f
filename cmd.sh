# shellcheck shell=bash
# Which job backend runs the stages' jobs. Each command is called in Kaldi's way:
#   ${train_cmd} [--mem 4G] [--num-threads 2] [--gpu 1] [--time T] [--max-jobs-run 8] JOB=1:N LOG COMMAND...
# so a site's own script of that kind (queue.pl, slurm.pl) can stand here instead.
#   local   jobs run on this machine, as many at once as it has cores
cmd_backend=local

case "${cmd_backend}" in
  local)
    export train_cmd="utils/jobs.sh local"
    export cuda_cmd="utils/jobs.sh local"
    ;;
  *)
    echo "error: cmd.sh: unknown cmd_backend '${cmd_backend}' (known: local)" >&2
    return 2
    ;;
esac
