# Runs in the virtual machine whose process 1 is systemd (cgroup v2 alone): the systemd driver.
SCOPE=$CGROUP/system.slice/eci-c1.scope

show() { local unit=$1; shift; for it in "$@"; do systemctl show --value -p "$it" "$unit"; done | tr '\n' ' '; }
no_scope() {
  is "scopes" "$(systemctl list-units --all --plain --no-legend '*.scope' | grep -v '^init.scope')" ""
  is "groups" "$(find $CGROUP -name 'eci-*')" ""
}
# in_scope LIMITS: what a spec of ctr's own with these limits runs in the scope.
in_scope() {
  spec '"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/"' "$1" |
    sed 's|"cgroupsPath": "/default/few"|"cgroupsPath": "system.slice:eci:c1"|' > spec.json
  works ctr run --runtime "$RUNTIME" --detach --config spec.json c1
}

check_a_scope_has_the_limits_and_a_reload_keeps_them() {
  is "process 1" "$(cat /proc/1/comm)" systemd
  works $RUN --detach --memory-limit 33554432 --cpus 0.5 --cpu-shares 512 --cgroup system.slice:eci:c1 "$IMAGE" c1 sleep 1000
  is "properties" "$(show eci-c1.scope MemoryMax CPUQuotaPerSecUSec CPUWeight Slice Delegate)" "33554432 500ms 59 system.slice yes "
  is "init's group" "$(cat /proc/$(pid c1)/cgroup)" 0::/system.slice/eci-c1.scope/init.scope
  is "the leaf's processes" "$(cat $SCOPE/init.scope/cgroup.procs)" "$(pid c1)"
  is "limits" "$(cat $SCOPE/memory.max $SCOPE/cpu.max $SCOPE/cpu.weight | tr '\n' ' ')" "33554432 50000 100000 59 "
  works systemctl daemon-reload
  is "limits after a reload" "$(cat $SCOPE/memory.max $SCOPE/cpu.max $SCOPE/cpu.weight | tr '\n' ' ')" "33554432 50000 100000 59 "
  is "what an exec is in" "$(inside c1 cat /proc/self/cgroup)" 0::/init.scope
  works ctr task rm --force c1
  works ctr container rm c1
  no_scope
}

check_device_rules_hold_after_a_reload() {
  mkdir -p /var/tmp/nodes
  mknod -m 666 /var/tmp/nodes/disk b $(tr : ' ' < /sys/class/block/vdb/dev)
  works $RUN --detach --mount type=bind,src=/var/tmp/nodes,dst=/nodes,options=rbind:rw --cgroup :eci:c1 "$IMAGE" c1 sleep 1000
  works systemctl daemon-reload
  refused "Operation not permitted" inside c1 head -c 1 /nodes/disk
  works inside c1 sh -c 'echo > /dev/null && head -c 1 /dev/zero'
  # A shim that is killed: the delete of its successor stops the scope.
  kill -KILL "$(awk '$1 == "PPid:" { print $2 }' "/proc/$(pid c1)/status")"
  eventually "the scope has ended" sh -c '! systemctl is-active -q eci-c1.scope'
  ctr task rm --force c1 > /dev/null 2>&1
  ctr container rm c1 > /dev/null 2>&1
  no_scope
}

check_a_limit_of_one_process_and_a_set_of_cpus_are_properties() {
  in_scope '"pids": { "limit": 1 }, "cpu": { "cpus": "0", "mems": "0" }, "unified": { "memory.high": "16777216" }'
  is "properties" "$(show eci-c1.scope TasksMax AllowedCPUs AllowedMemoryNodes MemoryHigh)" "1 0 0 16777216 "
  is "files" "$(cat $SCOPE/pids.max $SCOPE/cpuset.cpus $SCOPE/memory.high | tr '\n' ' ')" "1 0 16777216 "
  is "the scope's processes" "$(cat $SCOPE/pids.current)" 1
  works ctr task rm --force c1
  works ctr container rm c1
  rm -rf rootfs
  no_scope
}

check_an_update_changes_properties_and_a_refused_one_none() {
  local bundle=/run/containerd/io.containerd.runtime.v2.task/default/c1
  works $RUN --detach --memory-limit 33554432 --cpus 0.5 --cgroup system.slice:eci:c1 "$IMAGE" c1 sleep 1000
  works update $bundle '{ "memory": { "limit": 67108864 }, "cpu": { "quota": 25000, "period": 100000, "shares": 512 }, "pids": { "limit": 30 } }'
  local properties="67108864 250ms 59 30 " files="67108864 25000 100000 59 30 "
  is "properties" "$(show eci-c1.scope MemoryMax CPUQuotaPerSecUSec CPUWeight TasksMax)" "$properties"
  is "files" "$(cd $SCOPE && cat memory.max cpu.max cpu.weight pids.max | tr '\n ' '  ')" "$files"
  refused "linux.resources.cpu.cpus: 7: is not among" update $bundle '{ "pids": { "limit": 9 }, "memory": { "limit": 50331648 }, "cpu": { "cpus": "7" } }'
  # What is not asked for stays: of the properties too, which systemd writes again.
  works update $bundle '{ "cpu": { "shares": 512 } }'
  works systemctl daemon-reload
  is "properties after a reload" "$(show eci-c1.scope MemoryMax CPUQuotaPerSecUSec CPUWeight TasksMax)" "$properties"
  is "files after a reload" "$(cd $SCOPE && cat memory.max cpu.max cpu.weight pids.max | tr '\n ' '  ')" "$files"
  is "the leaf's limit" "$(cat $SCOPE/init.scope/memory.max)" 67108864
  works ctr task rm --force c1
  works ctr container rm c1
  no_scope
}
