#!/usr/bin/env bash
# A private Grid Engine on loopback for the tests: sge_qmaster and sge_execd, as root, unpacked but not installed.
#   tests/clusters/sge.sh start DIR   prints the environment that its commands need, a NAME=VALUE a line
#   tests/clusters/sge.sh stop DIR
# The action "boot" is start's own.
set -euo pipefail
# shellcheck source=tests/clusters/common.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
action=$1 dir=$2
programs=${dir}/bin/lx-amd64 compiled_in=/usr/lib/gridengine
export SGE_ROOT=${dir} SGE_CELL=default PATH=${programs}:${PATH}
export SGE_QMASTER_PIDFILE=${dir}/run/sge_qmaster.pid SGE_EXECD_PIDFILE=${dir}/run/sge_execd.pid

# Unpack Debian's packages: an installation would start services and bring a mail server.
unpack() {
  local deb
  mkdir -p "${dir}/deb" "${dir}/root" "${dir}/bin" "${dir}/lib" "${dir}/utilbin"
  (cd -- "${dir}/deb" && apt_get download gridengine-{master,exec,client,common} libjemalloc2 libmunge2 libtirpc3) 2>"${dir}/apt.log" \
    || no_cluster "Grid Engine's packages cannot be downloaded: $(tail -n 1 "${dir}/apt.log")"
  for deb in "${dir}"/deb/gridengine-*.deb "${dir}"/deb/lib*.deb; do dpkg -x "${deb}" "${dir}/root"; done
  cp -r "${dir}/root/usr/lib/gridengine" "${programs}"
  # Debian's programs look here, whatever SGE_ROOT is; stop removes it
  [[ ! -e ${compiled_in} ]] || no_cluster "${compiled_in} is there: another Grid Engine"
  ln -sfn "${programs}" "${compiled_in}"
  ln -s "${programs}" "${dir}/utilbin/lx-amd64"
  # where the programs look for their libraries
  mkdir "${dir}/lib/lx-amd64"
  find "${dir}/root" -name 'lib*.so*' -exec cp -P {} "${dir}/lib/lx-amd64" \;
}

write_config() {
  local host common=${dir}/root/usr/share/gridengine
  host=$(hostname -s)
  mkdir -p "${dir}/run" "${dir}/default/common" "${dir}/spool"/{qmaster/job_scripts,spooldb,execd}
  echo "${host}" >"${dir}/default/common/act_qmaster"
  # every name of 127.0.0.1 is this host
  echo "${host} $(awk '$1 == "127.0.0.1" { $1 = ""; print }' /etc/hosts | tr -s ' ' '\n' | grep -vx "${host}" | sort -u | tr '\n' ' ')" \
    >"${dir}/default/common/host_aliases"
  sed -e 's|^admin_user.*|admin_user none|' -e "s|^binary_path.*|binary_path ${dir}/bin|" \
    -e "s|/var/spool/gridengine|${dir}/spool|" "${common}/default-bootstrap" >"${dir}/default/common/bootstrap"
  sed -e "s|/var/spool/gridengine|${dir}/spool|" -e 's|^min_\([ug]\)id .*|min_\1id 0|' -e 's|^mailer .*|mailer /bin/true|' \
    "${common}/default-configuration" >"${dir}/configuration"
  printf '%s\n' "pe_name smp" "slots 99" "user_lists NONE" "xuser_lists NONE" "start_proc_args NONE" "stop_proc_args NONE" \
    "allocation_rule \$pe_slots" "control_slaves FALSE" "job_is_first_task TRUE" "urgency_slots min" \
    "accounting_summary FALSE" "qsort_args NONE" >"${dir}/environment"
  {
    printf '%s\n' "qname all.q" "hostlist ${host}" "seq_no 0" "load_thresholds NONE" "suspend_thresholds NONE" "nsuspend 1" \
      "suspend_interval 00:05:00" "priority 0" "min_cpu_interval 00:05:00" "processors UNDEFINED" "qtype BATCH" \
      "ckpt_list NONE" "pe_list smp" "rerun FALSE" "slots 4" "tmpdir /tmp" "shell /bin/sh" \
      "shell_start_mode unix_behavior" "notify 00:00:20" "initial_state default"
    printf '%s NONE\n' prolog epilog starter_method suspend_method resume_method terminate_method owner_list user_lists \
      xuser_lists subordinate_list complex_values projects xprojects calendar
    printf '%s INFINITY\n' {s,h}_{rt,cpu,fsize,data,stack,core,rss,vmem}
  } >"${dir}/queue"
}

# The services of Grid Engine, and what makes a cluster of them.
boot() {
  local resources=${dir}/root/usr/share/gridengine/util/resources
  spoolinit berkeleydb libspoolb "${dir}/spool/spooldb" init
  spooldefaults configuration "${dir}/configuration"
  spooldefaults complexes "${resources}/centry"
  spooldefaults usersets "${resources}/usersets"
  spooldefaults managers root
  sge_qmaster
  wait_until 20 timeout 5 qconf -sh
  timeout 10 qconf -sh | grep -qx "$(hostname -s)" || timeout 10 qconf -ah "$(hostname -s)"
  timeout 10 qconf -as "$(hostname -s)"
  sge_execd
  timeout 10 qconf -Ap "${dir}/environment"
  timeout 10 qconf -Aq "${dir}/queue"
  timeout 10 qconf -ssconf | sed 's/^schedule_interval.*/schedule_interval 0:0:1/; s/^flush_\(submit\|finish\)_sec.*/flush_\1_sec 1/' \
    >"${dir}/schedule"
  timeout 10 qconf -Msconf "${dir}/schedule"
}

# Succeed once the queue takes jobs: its load is known and it has no state of alarm.
queue_ready() {
  timeout 5 qstat -f 2>/dev/null | awk '/^all\.q@/ { found = $4 ~ /^[0-9]/ && NF == 5 } END { exit !found }'
}

start() {
  [[ ${EUID} == 0 ]] || no_cluster "Grid Engine's daemons need root here"
  [[ $(uname -m) == x86_64 ]] || no_cluster "Grid Engine's packages are unpacked on x86_64 only"
  [[ ${INSTALL_CLUSTERS:-0} == 1 ]] || no_cluster "Grid Engine is not downloaded (tests/run.sh clusters downloads it)"
  command -v dpkg >/dev/null || no_cluster "no dpkg on this machine"
  unpack
  SGE_QMASTER_PORT=$(free_ports 2)
  export SGE_QMASTER_PORT SGE_EXECD_PORT=$((SGE_QMASTER_PORT + 1))
  write_config
  "${BASH_SOURCE[0]}" boot "${dir}" >"${dir}/boot.log" 2>&1 </dev/null || no_cluster "Grid Engine does not start: $(tail -n 1 "${dir}/boot.log")"
  wait_until 40 queue_ready || no_cluster "Grid Engine's queue does not get ready"
  printf '%s\n' "SGE_ROOT=${SGE_ROOT}" "SGE_CELL=${SGE_CELL}" "SGE_QMASTER_PORT=${SGE_QMASTER_PORT}" \
    "SGE_EXECD_PORT=${SGE_EXECD_PORT}" "PATH=${PATH}"
}

stop() {
  end_daemons "${SGE_EXECD_PIDFILE}" "${SGE_QMASTER_PIDFILE}"
  [[ $(readlink "${compiled_in}") != "${programs}" ]] || rm "${compiled_in}"
}

"${action}"
