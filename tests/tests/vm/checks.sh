# What must hold on a pure cgroup v2 machine; sourced by run.sh, which runs every function named check_... in order. A check
# fails when one of its `is`, `has`, `works` or `refused` does.

check_a_container_has_ids_a_cgroup_view_and_a_proc_of_its_own() {
  local out
  out=$($RUN --rm "$IMAGE" ids sh -c 'cat /proc/self/uid_map /proc/self/cgroup; set -- /proc/[0-9]*; echo $*')
  # The shell alone, on a kernel whose procfs has no pidns option: made by a process inside.
  is "what it sees" "$(echo $out)" "0 100000 65536 0::/init.scope /proc/1"
}

check_exit_codes_are_those_of_the_programs() {
  works $RUN --detach "$IMAGE" codes sleep 1000
  status 42 $RUN --rm "$IMAGE" code sh -c 'exit 42'
  status 3 inside codes sh -c 'exit 3'
  status 0 inside codes true
  gone codes
}

check_limits_are_in_the_group_and_every_process_is_in_it() {
  works $RUN --detach --memory-limit 33554432 --cpus 0.5 --cpu-shares 512 "$IMAGE" limits sleep 1000
  local group=$CGROUP/default/limits
  is memory.max "$(cat $group/memory.max)" 33554432
  is cpu.max "$(cat $group/cpu.max)" "50000 100000"
  is "cpu.weight, of 512 shares" "$(cat $group/cpu.weight)" 59
  # Init lives in a leaf, which repeats the limits for programs that read their own group.
  is "init's group" "$(cat /proc/$(pid limits)/cgroup)" 0::/default/limits/init.scope
  is "the group's processes" "$(cat $group/cgroup.procs)" ""
  is "the leaf's processes" "$(cat $group/init.scope/cgroup.procs)" "$(pid limits)"
  is "the leaf's memory.max" "$(cat $group/init.scope/memory.max)" 33554432
  is "the leaf's cpu.max" "$(cat $group/init.scope/cpu.max)" "50000 100000"
  is "what the first instruction of an exec sees" "$(inside limits cat /proc/self/cgroup)" 0::/init.scope
  # More than the limit: the kernel kills the exec, and counts; init lives.
  status 137 inside limits tail -c 100000000 /dev/zero
  has "memory.events" "$(cat $group/memory.events)" "oom_kill 1"
  is "init" "$(cat $group/init.scope/cgroup.procs)" "$(pid limits)"
  gone limits
  status 137 $RUN --rm --memory-limit 16777216 "$IMAGE" oom tail -c 100000000 /dev/zero
}

check_metrics_are_those_of_the_whole_group() {
  works $RUN --detach --memory-limit 33554432 --cpus 0.5 "$IMAGE" metrics sleep 1000
  works inside metrics sh -c 'head -c 8388608 /dev/zero > /dev/shm/held; i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done
    dd if=/dev/zero of=/written bs=65536 count=16 conv=fsync'
  local table json written
  table=$(ctr task metrics metrics)
  metric() { echo "$table" | awk -v name="$1" '$1 == name { print $2 }'; }
  is memory.usage_limit "$(metric memory.usage_limit)" 33554432
  is pids.current "$(metric pids.current)" 1
  is "pids.limit, which is none" "$(metric pids.limit)" 18446744073709551615
  [ "$(metric memory.usage)" -ge 8388608 ] || fail "memory.usage: $table"
  for name in cpu.usage_usec cpu.user_usec cpu.system_usec cpu.nr_periods; do
    [ "$(metric $name)" -gt 0 ] || fail "$name: $table"
  done
  json=$(ctr task metrics --format json metrics)
  is "memory.stat's shmem" "$(echo "$json" | sed -n 's/ *"shmem": \([0-9]*\),/\1/p')" \
    "$(awk '$1 == "shmem" { print $2 }' $CGROUP/default/metrics/memory.stat)"
  # The kernel may write more meanwhile.
  written_is_told() {
    written=$(sed -n 's/.* wbytes=\([0-9]*\) .*/\1/p' $CGROUP/default/metrics/io.stat | head -n 1)
    ctr task metrics --format json metrics | grep -q "\"wbytes\": $written,*$"
  }
  eventually "io.stat's wbytes are told" written_is_told
  [ "${written:-0}" -ge 1048576 ] || fail "io.stat: $(cat $CGROUP/default/metrics/io.stat)"
  for name in pgfault slab anon kernel_stack; do has "metrics" "$json" "\"$name\": "; done
  gone metrics
  refused "not found" ctr task metrics metrics
}

check_a_paused_container_stands_still_and_dies_when_killed() {
  works $RUN --detach "$IMAGE" paused sh -c 'sleep 1000 & i=0; while :; do i=$((i + 1)); done'
  local group=$CGROUP/default/paused before
  works ctr task pause paused
  has "cgroup.events" "$(cat $group/cgroup.events)" "frozen 1"
  is status "$(ctr task list | awk '$1 == "paused" { print $3 }')" PAUSED
  before=$(awk '$1 == "usage_usec"' $group/cpu.stat)
  sleep 1
  is "its time on the processor" "$(awk '$1 == "usage_usec"' $group/cpu.stat)" "$before"
  refused "it is paused" inside paused true
  works ctr task resume paused
  has "cgroup.events" "$(cat $group/cgroup.events)" "frozen 0"
  works inside paused true
  works ctr task pause paused
  works ctr task kill -s KILL paused
  eventually "it is stopped" sh -c 'ctr task list | grep -q "^paused.*STOPPED"'
  gone paused
}

check_memory_that_runs_out_is_told_before_the_exit() {
  ctr events > events &
  local events=$!
  eventually "the subscription stands" sh -c 'ctr namespaces label default at=$$; grep -q /namespaces/ events'
  status 137 $RUN --rm --memory-limit 16777216 "$IMAGE" hungry sh -c 'tail -c 100000000 /dev/zero; exit $?'
  works $RUN --detach --memory-limit 16777216 "$IMAGE" starved tail -c 100000000 /dev/zero
  eventually "it is stopped" sh -c 'ctr task list | grep -q "^starved.*STOPPED"'
  gone starved
  eventually "the last event" grep -q '/tasks/delete.*starved' events
  kill $events
  # Of the first it is a child of init that is killed, in the leaf below the group that is watched.
  for id in hungry starved; do
    is "events of $id" "$(grep "/tasks/.*\"$id\"" events | grep -o '/tasks/[a-z-]*' | uniq | tr '\n' ' ')" \
      "/tasks/create /tasks/start /tasks/oom /tasks/exit /tasks/delete "
  done
  rm events
}

check_its_own_limits_are_out_of_reach() {
  works $RUN --detach --cap-add CAP_SYS_ADMIN --memory-limit 33554432 \
    --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw "$IMAGE" reach sleep 1000
  is "the limit, from inside" "$(inside reach cat /sys/fs/cgroup/memory.max)" 33554432
  refused denied inside reach sh -c 'echo max > /sys/fs/cgroup/memory.max'
  refused denied inside reach sh -c 'echo max > /sys/fs/cgroup/cpu.max'
  is "what is above it" "$(inside reach sh -c 'ls -d /sys/fs/cgroup/default' 2>&1)" \
    "ls: /sys/fs/cgroup/default: No such file or directory"
  is memory.max "$(cat $CGROUP/default/reach/memory.max)" 33554432
  gone reach
}

check_an_inner_engine_makes_groups_with_limits_below_its_own() {
  works $RUN --detach --cap-add CAP_SYS_ADMIN --memory-limit 67108864 \
    --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw "$IMAGE" nest sleep 1000
  local group=$CGROUP/default/nest
  works inside nest sh -ec 'cd /sys/fs/cgroup
    for controller in $(cat cgroup.controllers); do echo "+$controller" > cgroup.subtree_control; done
    mkdir -p engine/c1 && echo "+memory +pids" > engine/cgroup.subtree_control
    echo 16777216 > engine/c1/memory.max && echo 5 > engine/c1/pids.max'
  is "the inner limit" "$(cat $group/engine/c1/memory.max)" 16777216
  is "what its process sees" "$(inside nest sh -c 'echo 0 > /sys/fs/cgroup/engine/c1/cgroup.procs && cat /proc/self/cgroup')" \
    0::/engine/c1
  status 137 inside nest sh -c 'echo 0 > /sys/fs/cgroup/engine/c1/cgroup.procs && exec tail -c 100000000 /dev/zero'
  has "inner memory.events" "$(cat $group/engine/c1/memory.events)" "oom_kill 1"
  # The container's own limit holds for a group without one, and stays out of reach.
  inside nest sh -c 'echo max > /sys/fs/cgroup/engine/c1/memory.max'
  status 137 inside nest sh -c 'echo 0 > /sys/fs/cgroup/engine/c1/cgroup.procs && exec tail -c 300000000 /dev/zero'
  for file in memory.max memory.swap.max memory.high pids.max cpu.max cpu.weight io.max cgroup.freeze cgroup.max.depth; do
    refused denied inside nest sh -c "echo 0 > /sys/fs/cgroup/$file"
  done
  is memory.max "$(cat $group/memory.max)" 67108864
  # A group with controllers of its own takes no process: init moves, and execs follow it.
  works inside nest sh -ec 'mkdir /sys/fs/cgroup/moved && echo 1 > /sys/fs/cgroup/moved/cgroup.procs'
  is "an exec's group" "$(inside nest cat /proc/self/cgroup)" 0::/moved
  works inside nest rmdir /sys/fs/cgroup/init.scope
  is "an exec's group" "$(inside nest cat /proc/self/cgroup)" 0::/moved
  has "its processes" "$(ctr task ps nest)" "$(pid nest)"
  gone nest
}

check_every_controller_has_its_limits() {
  local disk group
  disk=$(cat /sys/class/block/vdb/dev)
  made() { # ID RESOURCES: a container of the unpacked image's files
    spec '"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/"' "$2" | sed "s|/default/few|/default/$1|" > spec.json
    ctr run --runtime "$RUNTIME" --detach --config spec.json "$1"
  }
  works made every "\"blockIO\": { \"throttleReadBpsDevice\": [{ \"major\": ${disk%:*}, \"minor\": ${disk#*:}, \"rate\": 1048576 }] }, \"hugepageLimits\": [{ \"pageSize\": \"2MB\", \"limit\": 4194304 }], \"unified\": { \"memory.high\": \"50000000\" }"
  group=$CGROUP/default/every
  has io.max "$(cat $group/io.max)" "$disk rbps=1048576 wbps=max"
  is hugetlb.2MB.max "$(cat $group/hugetlb.2MB.max)" 4194304
  is memory.high "$(cat $group/memory.high)" 49999872
  gone every
  refused "linux.resources.network.classID: 5: only cgroup v1 has this control" made none '"network": { "classID": 5 }'
  ctr container rm none > /dev/null 2>&1
  refused 'linux.resources.unified["cgroup.freeze"]: controls the group itself' made none '"unified": { "cgroup.freeze": "1" }'
  ctr container rm none > /dev/null 2>&1
  refused 'linux.resources.unified["dmem.max"]: 1: the dmem controller is not available here' made none '"unified": { "dmem.max": "1" }'
  ctr container rm none > /dev/null 2>&1
  refused "linux.resources.cpu.cpus: 1: is not among what the group above has, 0" made none '"cpu": { "cpus": "1" }'
  ctr container rm none > /dev/null 2>&1
  # One process: init has it for itself.
  works made one '"pids": { "limit": 1 }'
  is pids.max "$(cat $CGROUP/default/one/pids.max)" 1
  gone one
}

check_an_update_changes_limits_and_one_below_use_changes_nothing() {
  works $RUN --detach --memory-limit 134217728 --cpus 0.5 "$IMAGE" change sh -c 'x=$(head -c 20000000 /dev/zero | tr "\0" x); sleep 1000; echo $x'
  local group=$CGROUP/default/change bundle=/run/containerd/io.containerd.runtime.v2.task/default/change
  eventually "it uses memory" sh -c "[ \$(cat $group/memory.current) -gt 20000000 ] && pgrep -x sleep > /dev/null"
  works update $bundle '{ "memory": { "limit": 100663296, "swap": 100663296 }, "cpu": { "period": 50000 }, "pids": { "limit": 30 } }'
  is memory.max "$(cat $group/memory.max)" 100663296
  is memory.swap.max "$(cat $group/memory.swap.max)" 0
  is "cpu.max keeps its quota" "$(cat $group/cpu.max)" "50000 50000"
  is pids.max "$(cat $group/pids.max)" 30
  is "the leaf's memory.max" "$(cat $group/init.scope/memory.max)" 100663296
  is "the leaf's cpu.max" "$(cat $group/init.scope/cpu.max)" "50000 50000"
  refused "linux.resources.memory.limit: 4194304: is below what the container uses, " update $bundle '{ "memory": { "limit": 4194304 } }'
  refused "linux.resources.cpu.cpus: 7: is not among" update $bundle '{ "pids": { "limit": 9 }, "cpu": { "cpus": "7" } }'
  refused 'linux.resources.unified["io.max"]' update $bundle '{ "pids": { "limit": 9 }, "unified": { "io.max": "1:99 rbps=1" } }'
  is memory.max "$(cat $group/memory.max)" 100663296
  is pids.max "$(cat $group/pids.max)" 30
  is "its processes" "$(grep oom_kill\  $group/memory.events)" "oom_kill 0"
  gone change
}

check_the_limit_of_processes_holds() {
  spec '"args": ["sleep", "1000"], "env": ["PATH=/bin"], "cwd": "/"' '"pids": { "limit": 8 }' > spec.json
  works ctr run --runtime "$RUNTIME" --detach --config spec.json few
  local group
  group=$CGROUP$(sed 's/0::\(.*\)\/init.scope/\1/' "/proc/$(pid few)/cgroup")
  is pids.max "$(cat "$group/pids.max")" 8
  works inside few sh -c 'for i in 1 2 3; do sleep 1000 & done'
  refused "Resource temporarily unavailable" inside few sh -c 'for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done'
  has "pids.events" "$(cat "$group/pids.events" | tr '\n' ' ')" "max "
  [ "$(cat "$group/pids.peak")" -le 8 ] || fail "more processes than the limit: $(cat "$group/pids.peak")"
  gone few
  # A range is its container's while the writable layer is there, and here that is the root filesystem.
  has "ranges" "$(containerd-shim-eci-v2 ranges)" " few "
  rm -rf rootfs
}

check_device_rules_hold() {
  # The machine's own second disk, readable for everybody: what refuses is the group's program.
  mkdir -p /var/tmp/nodes
  mknod -m 666 /var/tmp/nodes/disk b $(tr : ' ' < /sys/class/block/vdb/dev)
  works $RUN --detach --mount type=bind,src=/var/tmp/nodes,dst=/nodes,options=rbind:rw "$IMAGE" devices sleep 1000
  refused "Operation not permitted" inside devices head -c 1 /nodes/disk
  works inside devices sh -c 'echo > /dev/null && head -c 1 /dev/zero'
  gone devices
  works $RUN --rm --device /var/tmp/nodes/disk "$IMAGE" device sh -c 'head -c 1 /var/tmp/nodes/disk > /dev/null'
}

check_a_privileged_container_has_nothing_of_the_hosts() {
  # The second disk again, and the helper, in a place whose filesystem can be id-mapped.
  mkdir -p /var/tmp/nodes && cp -f bin/inside /var/tmp/inside
  [ -e /var/tmp/nodes/disk ] || mknod -m 666 /var/tmp/nodes/disk b $(tr : ' ' < /sys/class/block/vdb/dev)
  works $RUN --detach --privileged --mount type=bind,src=/var/tmp/nodes,dst=/nodes,options=rbind:rw \
    --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw --mount type=bind,src=/var/tmp/inside,dst=/inside,options=rbind:ro "$IMAGE" power sleep 1000
  local nodes line
  nodes=$(inside power sh -c 'find /dev -type b -o -type c ! -path "/dev/pts/*" | sort | tr "\n" " "')
  is "its devices" "$(echo "$nodes" | sed 's,/dev/fuse ,,; s,/dev/net/tun ,,')" \
    "/dev/full /dev/null /dev/random /dev/tty /dev/urandom /dev/zero "
  refused "Operation not permitted" inside power head -c 1 /nodes/disk
  refused "Operation not permitted" inside power mknod /disk b 254 0
  inside power /inside kernel > said
  [ "$(wc -l < said)" -gt 20 ] || fail "kernel: $(cat said)"
  while read -r line; do
    case $line in *" EPERM") ;; *_module*" ENOSYS" | kexec*" ENOSYS") ;; *) fail "kernel: $line" ;; esac
  done < said
  is "an AF_VSOCK socket of x32" "$(inside power /inside syscall 0x40000029 40 1 0)" EPERM
  is "socketcall of 32 bits" "$(inside power /inside syscall32 102 1 0)" ENOSYS
  works inside power /inside syscall 41 2 1 0
  works inside power sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward && mkdir /sys/fs/cgroup/made && rmdir /sys/fs/cgroup/made'
  refused "ermission denied" inside power sh -c 'echo x > /proc/sys/kernel/core_pattern'
  gone power
  rm said
}

check_user_namespaces_are_limited_beyond_the_containers_root() {
  cp -f bin/inside /var/tmp/inside
  mkdir -p /etc/eci && printf '[container]\nmax_user_namespaces = 1\n' > /etc/eci/config.toml
  works $RUN --detach --privileged --mount type=bind,src=/var/tmp/inside,dst=/inside,options=rbind:ro \
    --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw "$IMAGE" two sleep 1000
  rm -r /etc/eci
  works inside two sh -c 'echo 1000 > /proc/sys/user/max_user_namespaces'
  is "how many there can be" "$(inside two /inside user-namespaces 3)" "1 ENOSPC"
  # As any other: a cgroup namespace of its own, with its root in the group that has the limits.
  is "its group" "$(inside two cat /proc/self/cgroup)" 0::/init.scope
  is "the owner of its cgroup namespace" "$(inside two /inside owner cgroup)" own
  works inside two sh -c 'mkdir /sys/fs/cgroup/made && rmdir /sys/fs/cgroup/made'
  gone two
}

check_mounts_are_locked_and_its_own_are_its_own() {
  mkdir -p /var/tmp/secret && echo host > /var/tmp/secret/file
  works $RUN --detach --cap-add CAP_SYS_ADMIN \
    --mount type=bind,src=/var/tmp/secret,dst=/secret,options=rbind:ro "$IMAGE" locked sleep 1000
  is "the file" "$(inside locked cat /secret/file)" host
  refused "permission denied" inside locked mount -o remount,bind,rw none /secret
  refused "Invalid argument" inside locked umount /secret
  refused "Read-only" inside locked sh -c 'echo changed > /secret/file'
  refused "permission denied" inside locked unshare --user --map-root-user --mount mount -o remount,bind,rw none /secret
  # With its source named: without it, busybox gives the options that it reads in /proc/mounts, and their host ids, back.
  works inside locked sh -c 'mkdir /mine && mount -t tmpfs mine /mine && touch /mine/a &&
    mount -o remount,ro mine /mine && ! touch /mine/b && mount -o remount,rw mine /mine && touch /mine/b && umount /mine'
  is "the file, on the host" "$(cat /var/tmp/secret/file)" host
  gone locked
}

check_files_on_disk_belong_to_whom_the_container_says() {
  works $RUN --detach "$IMAGE" owners sleep 1000
  works inside owners sh -c 'echo x > /by-root; echo x > /by-user; chown 1000:100 /by-user'
  is "owners on disk" "$(find /var/lib/containerd -name 'by-*' -printf '%f %U:%G\n' | sort | tr '\n' ' ')" \
    "by-root 0:0 by-user 1000:100 "
  is "owners of the image, inside" "$(inside owners stat -c %u:%g /bin/busybox)" 0:0
  gone owners
}

check_a_container_joins_the_network_of_another() {
  works $RUN --detach "$IMAGE" first sh -c 'nc -l -p 8080 -e echo hello; sleep 1000'
  works $RUN --detach --with-ns "network:/proc/$(pid first)/ns/net" "$IMAGE" second sleep 1000
  for namespace in net user; do
    is "$namespace" "$(readlink "/proc/$(pid second)/ns/$namespace")" "$(readlink "/proc/$(pid first)/ns/$namespace")"
  done
  [ "$(readlink "/proc/$(pid second)/ns/pid")" != "$(readlink "/proc/$(pid first)/ns/pid")" ] || fail "pid namespaces are one"
  serves() { [ "$(inside second nc 127.0.0.1 8080 < /dev/null 2>&1)" = hello ]; }
  eventually "the first one serves" serves
  is "groups" "$(ls -d $CGROUP/default/*/ | tr '\n' ' ')" "$CGROUP/default/first/ $CGROUP/default/second/ "
  gone second
  gone first
}

check_the_look_at_the_host_says_what_there_is_and_what_is_missing() {
  local out
  out=$(containerd-shim-eci-v2 check)
  is "status of a good host" $? 0
  has check "$(echo "$out" | grep ' cgroups ')" "v2"
  has check "$out" "6.12"
  echo 0 > /proc/sys/user/max_user_namespaces
  out=$(containerd-shim-eci-v2 check)
  is "status of a bad host" $? 1
  echo 7000 > /proc/sys/user/max_user_namespaces
  has check "$(echo "$out" | grep MISSING)" "user namespaces"
}
