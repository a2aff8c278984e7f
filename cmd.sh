# shellcheck shell=bash disable=SC2154
# Which job backend runs the stages' jobs. Each command is called in Kaldi's way:
#   ${train_cmd} [--mem 4G] [--num-threads 2] [--gpu 1] [--time T] [--max-jobs-run 8] JOB=1:N LOG COMMAND...
# so a site's own script of that kind (queue.pl, slurm.pl) can stand here instead.
#   local   jobs run on this machine, as many at once as it has cores
#   ssh     jobs run on the machines listed in conf/ssh.conf
#   slurm, sge, pbs   jobs are handed to a cluster as conf/slurm.conf, conf/sge.conf, conf/pbs.conf say
# docs/clusters.md tells more. The variable cmd_backend chooses for one run: cmd_backend=slurm ./run.sh
cmd_backend=${cmd_backend:-local}

# train_cmd runs the jobs of stages 3 and 6; cuda_cmd trains, and runs stage 6 where it identifies on GPUs.
# Further resources of a job may stand behind them: --mem 32G --time 2-0 --num-threads 8
case "${cmd_backend}" in
  local)
    train_cmd="utils/jobs.sh local"
    cuda_cmd="utils/jobs.sh local --num-threads ${cores}"
    ;;
  ssh | slurm | sge | pbs)
    train_cmd="utils/jobs.sh ${cmd_backend}"
    cuda_cmd="utils/jobs.sh ${cmd_backend} --num-threads 4"
    ;;
  *)
    echo "error: cmd.sh: unknown cmd_backend '${cmd_backend}' (known: local, ssh, slurm, sge, pbs)" >&2
    return 2
    ;;
esac
export train_cmd cuda_cmd
