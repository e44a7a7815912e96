# What must hold on every kernel (cgroup v2 alone): emulated files and trapped calls, by what they do in one privileged container,
# which has trixie's tools besides busybox's. The first check starts it, the last one kills its shim.
LIMIT=$((96 << 20))
GROUP=$CGROUP/default/own

check_a_container_starts_and_executes() {
  mkdir -p /var/tmp/nodes && cp -f bin/inside /var/tmp/inside
  mknod -m 666 /var/tmp/nodes/disk b $(tr : ' ' < /sys/class/block/vdb/dev)
  works $RUN --detach --privileged --memory-limit $LIMIT --cpus 0.5 $(readonly /usr /usr) $(readonly /usr/lib /lib) \
    $(readonly /usr/lib64 /lib64) $(readonly /var/tmp/inside /inside) $(readonly /var/tmp/nodes /nodes) \
    --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw "$IMAGE" own sleep 1000
  is "what it sees" "$(inside own sh -c 'set -- $(cat /proc/self/uid_map /proc/self/cgroup); echo $*')" "0 100000 65536 0::/init.scope"
  status 42 inside own sh -c 'exit 42'
  status 42 $RUN --rm "$IMAGE" other sh -c 'exit 42'
  has "the log" "$(cat containerd.log)" "containerd successfully booted"
  is "what the log says is missing" "$(grep 'runs without' containerd.log)" ""
}
readonly() { echo "--mount type=bind,src=$1,dst=$2,options=rbind:ro"; }

check_the_look_at_the_host_finds_what_they_take() {
  local out
  out=$(containerd-shim-eci-v2 check)
  is "status" $? 0
  for what in FUSE "seccomp notify"; do
    is "$what" "$(echo "$out" | sed -n "s/^\([a-zA-Z]*\)  *$what  */\1 /p")" "ok yes"
  done
}

check_files_tell_of_the_group_and_of_those_above() {
  memory() { inside own awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo; }
  is MemTotal "$(memory)" $((LIMIT / 1024))
  is "memory, of sysinfo" "$(inside own /inside sysinfo | cut -d ' ' -f 2)" $LIMIT
  # A group above, that has less.
  echo $((64 << 20)) > $CGROUP/default/memory.max
  sleep 1
  is "MemTotal below a lower limit" "$(memory)" 65536
  is "memory below it, of sysinfo" "$(inside own /inside sysinfo | cut -d ' ' -f 2)" $((64 << 20))
  echo max > $CGROUP/default/memory.max
  is processors "$(inside own sh -c 'grep -c ^processor /proc/cpuinfo; grep -c "^cpu[0-9]" /proc/stat; ls /sys/devices/system/cpu | grep -c "^cpu[0-9]"' | tr '\n' ' ')" "1 1 1 "
  is "loadavg's fields" "$(inside own awk '{ split($4, tasks, "/"); print NF, tasks[2] < 10 }' /proc/loadavg)" "5 1"
  is "swaps' lines" "$(inside own sh -c 'wc -l < /proc/swaps')" 1
  for what in cpu io memory; do
    is "pressure/$what" "$(inside own cut -d ' ' -f 1 "/proc/pressure/$what" | tr '\n' ' ')" "some full "
  done
  # The pressure of a group that had none is none, whatever the machine had.
  is "its memory pressure" "$(inside own grep -o total=.* /proc/pressure/memory | tr '\n' ' ')" \
    "$(grep -o total=.* $GROUP/memory.pressure | tr '\n' ' ')"
  local up
  up=$(inside own cut -d . -f 1 /proc/uptime)
  [ "$up" -lt "$(cut -d . -f 1 /proc/uptime)" ] || fail "uptime: $up"
}

check_a_setting_is_its_own() {
  local host
  host=$(cat /proc/sys/kernel/panic)
  works inside own sh -c 'echo 77 > /proc/sys/kernel/panic'
  is "what it reads back" "$(inside own cat /proc/sys/kernel/panic)" 77
  refused "nvalid argument" inside own sh -c 'echo nonsense > /proc/sys/kernel/panic'
  is "the host's" "$(cat /proc/sys/kernel/panic)" "$host"
  refused "ermission denied" inside own sh -c 'echo 1 > /proc/sys/vm/drop_caches'
}

check_a_new_proc_and_sysfs_show_them_too() {
  local of
  for of in "" /usr/bin/; do
    works inside own sh -ec "mkdir -p /p /s; ${of}mount -t proc proc /p
      [ \"\$(head -n 1 /p/meminfo | tr -dc 0-9)\" = $((LIMIT / 1024)) ] && [ \"\$(cat /p/sys/kernel/panic)\" = 77 ] && [ -d /p/1 ]
      ! ${of}umount /p/meminfo 2> /dev/null
      ${of}umount /p; ! [ -e /p/meminfo ]
      ${of}mount -t sysfs sysfs /s; [ -d /s/class ] && [ -z \"\$(ls /s/firmware)\" ]
      ${of}umount /s; ! [ -e /s/class ]"
  done
  # In a pid namespace of its own, and in a user namespace.
  is "an inner proc" "$(inside own /usr/bin/unshare --pid --fork --mount --mount-proc sh -c 'echo /proc/[0-9]*; head -n 1 /proc/meminfo | tr -dc 0-9' | tr '\n' ' ')" \
    "/proc/1 $((LIMIT / 1024))"
  is "one of a user namespace" "$(inside own /usr/bin/unshare --user --map-root-user --pid --fork --mount --mount-proc head -n 1 /proc/meminfo | tr -dc 0-9)" $((LIMIT / 1024))
}

check_what_is_locked_stays_and_what_is_bound_comes_off() {
  local of
  refused "nvalid argument" inside own umount /proc/meminfo
  refused "ermission denied" inside own mount -o remount,bind,rw none /usr
  refused "ermission denied" inside own /usr/bin/mount -o remount,bind,rw /usr
  refused "Read-only" inside own touch /usr/written
  for of in "" /usr/bin/; do
    works inside own sh -ec "mkdir -p /x; ${of}mount --bind / /x; [ -e /x/bin/busybox ]; ! [ -e /x/usr/bin/mount ]
      ${of}umount /x; ! [ -e /x/bin ]"
  done
}

check_harmless_devices_are_made_and_others_are_not() {
  works inside own sh -ec 'mknod /null c 1 3; echo x > /null; [ -z "$(cat /null)" ]; rm /null'
  refused "not permitted" inside own mknod /disk b 254 0
  refused "not permitted" inside own mknod /mem c 1 1
  refused "not permitted" inside own head -c 1 /nodes/disk
}

check_an_inner_runc_runs_and_sees_them() {
  works inside own sh -ec 'for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
      echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control; done
    mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/sys /b/rootfs/dev; cd /b; cp /bin/busybox rootfs/bin/; ln -sf busybox rootfs/bin/sh
    /usr/sbin/runc spec; sed -i "s/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sh\", \"-c\", \"busybox head -n 1 \/proc\/meminfo; echo \$\$; exit 7\"/" config.json'
  is "what it says" "$(inside own sh -c 'cd /b; /usr/sbin/runc --root /b/run run inner; echo $?' 2>&1 | tr -s ' \n' ' ')" "MemTotal: $((LIMIT / 1024)) kB 1 7 "
}

check_device_programs_of_an_inner_engine_hold() {
  works inside own mkdir -p /sys/fs/cgroup/c1
  local out
  out=$(inside own /inside device-program /sys/fs/cgroup/c1 2>&1)
  for line in "load in a thread done" "close-on-exec 1" "denied EPERM" "denied all the same EPERM" "it is inner, 1 0" "allowed done" \
    "query for less ENOSPC" "allowed again done" "replace nothing EBADF"; do
    has "an engine's way" "$out" "$line"
  done
  refused EPERM inside own /inside attach /sys/fs/cgroup
  works inside own /inside attach /sys/fs/cgroup/c1
  # What its own group denies stays denied, whatever a program below allows.
  refused "not permitted" inside own sh -c 'mkdir -p /sys/fs/cgroup/c2; echo $$ > /sys/fs/cgroup/c2/cgroup.procs
    /inside device-program /sys/fs/cgroup/c2 > /dev/null; head -c 1 /nodes/disk'
  # The rules of a runtime's: fuse is a device that it does not allow by itself.
  works inside own sh -ec 'cd /b; cp config.json plain.json; touch /b/fuse
    sed -i "s|\"mounts\": \[|&{\"destination\": \"/fuse\", \"type\": \"bind\", \"source\": \"/dev/fuse\", \"options\": [\"bind\"]},|
      s|head -n 1 /proc/meminfo; echo \$\$; exit 7|head -c 0 /fuse; : < /fuse|" config.json'
  refused "not permitted" inside own sh -c 'cd /b; /usr/sbin/runc --root /b/run run denied 2>&1'
  works inside own sh -ec 'cd /b; sed -i "s|\"access\": \"rwm\"|&}, {\"allow\": true, \"type\": \"c\", \"major\": 10, \"minor\": 229, \"access\": \"rwm\"|" config.json
    /usr/sbin/runc --root /b/run run allowed 2>&1; mv plain.json config.json'
  works inside own sh -c 'rmdir /sys/fs/cgroup/c1/below /sys/fs/cgroup/c1 /sys/fs/cgroup/c2/below; :'
}

check_what_a_killed_shim_leaves_goes() {
  local init
  init=$(pid own)
  kill -KILL "$(awk '$1 == "PPid:" { print $2 }' "/proc/$init/status")"
  eventually "the task is stopped or gone" sh -c '! ctr task list | grep -q "own.*RUNNING"'
  ctr task rm --force own > /dev/null 2>&1
  ctr container rm own > /dev/null 2>&1
  eventually "its process is gone" sh -c "! [ -d /proc/$init ]"
  eventually "its group is gone" sh -c "! [ -d $CGROUP/default ]"
  rm -r /var/tmp/nodes
}
