# shellcheck shell=bash disable=SC2154
# Choose the backend that runs the jobs of the stages. Commands follow Kaldi's calling convention:
#   ${train_cmd} [--mem 4G] [--num-threads 2] [--gpu 1] [--time T] [--max-jobs-run 8] JOB=1:N LOG COMMAND...
# so you can use your site's own script (queue.pl, slurm.pl) instead.
#   local   run jobs on this machine, as many at once as it has cores
#   ssh     run jobs on the machines listed in conf/ssh.conf
#   slurm, sge, pbs   submit jobs to a cluster, as configured in conf/slurm.conf, conf/sge.conf or conf/pbs.conf
# See docs/clusters.md. To choose the backend for one run: cmd_backend=slurm ./run.sh
# "cores" is set by lid.sh: the number of cores that this process may use.
cmd_backend=${cmd_backend:-local}

# train_cmd runs CPU jobs (stages 3, 4 and 6). cuda_cmd runs training, and the jobs of stages 4 and 6 that use GPUs.
# You can append resource options: --mem 32G --time 2-0 --num-threads 8
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
