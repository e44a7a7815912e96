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
# since VERSION: whether the kernel is that new.
since() { printf '%s\n' "$1" "$(uname -r)" | sort -CV; }
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
  pressure_is_its_groups() {
    [ "$(inside own grep -o total=.* /proc/pressure/memory)" = "$(grep -o total=.* $GROUP/memory.pressure)" ]
  }
  eventually "its memory pressure is its group's" pressure_is_its_groups
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

check_every_row_shows_takes_and_refuses_what_it_says() {
  local path word value error before text
  works $RUN --detach --privileged "$IMAGE" beside sleep 1000
  # A network namespace of a user's own has nothing of net/core on 6.1; a pid namespace has a pid_max of its own since 6.14.
  is_here() { [ -e "$1" ] && { [[ $1 != /proc/sys/net/core/* ]] || since 6.12; } && { [[ $1 != */pid_max ]] || ! since 6.14; }; }
  is "somaxconn is there" "$(inside own sh -c '[ -e /proc/sys/net/core/somaxconn ]; echo $?')" "$(since 6.12; echo $?)"
  while IFS= read -r line; do is_here "${line%% *}" && echo "$line"; done < rows > expected
  for path in /proc/sys/kernel/{sysrq,yama/ptrace_scope} /sys/devices/virtual/dmi/id/product_uuid; do
    grep -q "^$path " expected || fail "this kernel lacks $path"
  done
  sed -n 's/^\([^ ]*\) takes .*/\1/p' expected | uniq > kept
  cat $(cat kept) > hosts
  inside own /usr/bin/env PATH=/usr/bin /usr/bin/bash -s < rows.sh 2>&1 | sort > said
  since 6.14 && sed -i '/pid_max /d' said
  is "what differs" "$(sort expected | diff - said)" ""
  is "the host's" "$(cat $(cat kept) | diff hosts -)" ""
  is "another container's" "$(inside beside sh -c "cat $(grep -v /net/ kept | tr '\n' ' ')" | diff <(cat $(grep -v /net/ kept)) -)" ""
  # The host's own kernel refuses the same, by the same number; page-cluster had no end yet in 6.1.
  while read -r path word value error; do
    [ "$word" = refuses ] && { [[ $path != */page-cluster ]] || since 6.12; } || continue
    before=$(<"$path")
    text=$( (echo "$value" > "$path") 2>&1)
    is "the host's $path takes $value" "${text##*: }" "$error"
    [ "$(<"$path")" = "$before" ] || echo "$before" > "$path"
  done < expected
  # One id for each container, of the host's.
  for id in own beside; do inside $id cat /sys/devices/virtual/dmi/id/product_uuid; done > ids
  cat /sys/devices/virtual/dmi/id/product_uuid >> ids
  is "ids" "$(sort -u ids | wc -l) $(cut -c -24 ids | sort -u)" "3 0f3c5a1e-6b1d-4c58-9f0e-"
  gone beside
}

check_what_makes_mounts_and_namespaces_of_its_own_works() {
  cat > shows.sh << 'SHOWS'
PATH=/usr/sbin:/usr/bin:/bin
mkdir -p /mnt/x /run; cd /mnt/x; mount -t tmpfs t .; cd /mnt/x
bwrap --unshare-user --uid 1000 --unshare-all --ro-bind / / --proc /proc --dev /dev sh -c 'head -n 1 /proc/meminfo; id -u; touch /bwrap' 2>&1 | tr -s ' '
ip netns add other; ip netns exec other sh -c 'ip link set lo up; ls /sys/class/net; ls /sys/firmware; head -c 8 /proc/meminfo'; echo; ip netns del other
mkdir l u w m; echo below > l/f; fuse-overlayfs -o lowerdir=l,upperdir=u,workdir=w m 2> /dev/null; echo above > m/f; cat u/f l/f; umount m
mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; cat m/f; rm m/f; stat -c %F u/f; umount m
cd /; umount /mnt/x
unshare -m sh -ec 'mount --make-rslave /; mount -t tmpfs -o nosuid,nodev,mode=1777 t /tmp; mkdir /tmp/own /var/tmp 2> /dev/null || :
  mount --rbind /tmp/own /var/tmp; mount --bind /bin /bin; mount -o remount,bind,ro /bin; ! touch /bin/x 2> /dev/null; touch /var/tmp/mine; ls /tmp/own'
mount -o remount,hidepid=2 /proc; grep -o hidepid=[a-z]* /proc/self/mountinfo; mount -o remount,hidepid=0 /proc
mount -o remount,ro /proc; (echo 5 > /proc/sys/kernel/panic) 2>&1 | grep -o Read-only; mount -o remount,rw /proc; echo 5 > /proc/sys/kernel/panic
for mount in mount "busybox mount"; do
  $mount -t tmpfs t /mnt/x; $mount -o remount,ro /mnt/x; touch /mnt/x/f 2> /dev/null || echo ro; $mount -o remount,rw /mnt/x; touch /mnt/x/f; umount /mnt/x
done
mount -t binfmt_misc b /proc/sys/fs/binfmt_misc 2>&1 | head -n 1; mountpoint -q /proc/sys/fs/binfmt_misc && ls /proc/sys/fs/binfmt_misc && umount /proc/sys/fs/binfmt_misc
SHOWS
  local binfmt
  # A binfmt_misc of a user namespace's own came with 6.7.
  binfmt=$(since 6.7 && echo "register status " || echo "mount: /proc/sys/fs/binfmt_misc: permission denied. ")
  is "what it says" "$(inside own /usr/bin/bash -s < shows.sh 2>&1 | tr '\n' ' ')" \
    "MemTotal: $((LIMIT / 1024)) kB 1000 touch: cannot touch '/bwrap': Read-only file system lo MemTotal above below above character special file mine hidepid=invisible Read-only ro ro $binfmt"
  # A root that is read-only.
  works $RUN --detach --privileged --read-only --memory-limit $((256 << 20)) $(readonly /usr /usr) $(readonly /usr/lib /lib) \
    $(readonly /usr/lib64 /lib64) "$IMAGE" fixed sleep 1000
  refused "Read-only" inside fixed touch /x
  works inside fixed sh -ec '/usr/bin/mount -t proc p /tmp; head -c 8 /tmp/meminfo; /usr/bin/umount /tmp; mount -t tmpfs t /tmp; touch /tmp/x; umount /tmp'
  is "its memory" "$(inside fixed sh -c 'free -k | sed -n 2p | tr -s " " | cut -d " " -f 2; nproc; grep -c ^processor /proc/cpuinfo' | tr '\n' ' ')" "262144 1 1 "
  gone fixed
}

check_a_tmpfs_of_the_hosts_is_bound_where_it_can_be_mapped() {
  # As the CRI makes it for a pod.
  local shm=/run/containerd/io.containerd.grpc.v1.cri/sandboxes/pod/shm
  mkdir -p $shm && mount -t tmpfs -o mode=1777 shm $shm
  touches() { $RUN --rm --mount type=bind,src=$shm,dst=/dev/shm,options=rbind:rw "$IMAGE" pod touch /dev/shm/made; }
  if since 6.3; then
    works touches
    is "the owner, on the host" "$(stat -c %u $shm/made)" 0
  else
    refused "can't mount $shm because $shm is on tmpfs, which cannot be id-mapped: its owners would show as nobody; [mounts] unmappable = \"plain\" in /etc/eci/config.toml allows that" touches
    ctr container rm pod > /dev/null 2>&1
    mkdir -p /etc/eci && printf '[mounts]\nunmappable = "plain"\n' > /etc/eci/config.toml
    works touches
    rm -r /etc/eci
  fi
  umount $shm && rm -r "${shm%/pod/shm}"
}

check_an_inner_runc_runs_and_sees_them() {
  works inside own sh -ec 'for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
      echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control; done
    mkdir -p /b/rootfs/bin /b/rootfs/proc /b/rootfs/sys /b/rootfs/dev; cd /b; cp /bin/busybox rootfs/bin/; ln -sf busybox rootfs/bin/sh
    /usr/sbin/runc spec; sed -i "s/\"terminal\": true/\"terminal\": false/; s/\"sh\"/\"sh\", \"-c\", \"busybox head -n 1 \/proc\/meminfo; echo \$\$; exit 7\"/" config.json'
  is "what it says" "$(inside own sh -c 'cd /b; /usr/sbin/runc --root /b/run run inner; echo $?' 2>&1 | tr -s ' \n' ' ')" "MemTotal: $((LIMIT / 1024)) kB 1 7 "
  # One with limits of its own sees these.
  works inside own sh -ec 'cd /b; sed "s|\"resources\": {|&\"memory\": {\"limit\": 67108864, \"swap\": 83886080}, \"cpu\": {\"quota\": 100000, \"period\": 100000},|" config.json > limited
    cp config.json plain.json; mv limited config.json; chmod +x rootfs/bin/sh
    sed -i "s|busybox head -n 1 /proc/meminfo; echo \$\$; exit 7|busybox sh /says|" config.json
    echo "busybox grep MemTotal /proc/meminfo; busybox free -k | busybox sed -n 2p | busybox cut -c -20; busybox grep -c ^processor /proc/cpuinfo
      busybox grep -c ^cpu[0-9] /proc/stat; busybox cat /sys/devices/system/cpu/online" > rootfs/says'
  local runtime
  for runtime in /usr/sbin/runc /usr/bin/crun; do
    is "what it says, with limits, by $runtime" "$(inside own sh -c "cd /b; $runtime --root /b/run run inner" 2>&1 | tr -s ' \n' ' ')" "MemTotal: 65536 kB Mem: 65536 1 1 0 "
  done
}

check_swap_is_told_alike_and_nested() {
  dd if=/dev/zero of=/var/tmp/swap bs=1M count=48 status=none && chmod 600 /var/tmp/swap && mkswap /var/tmp/swap > /dev/null && swapon /var/tmp/swap
  # SwapTotal, the size in /proc/swaps and that of sysinfo(2), in kB.
  local says="busybox sed -n 's/^SwapTotal: *\\([0-9]*\\).*/\\1/p' /proc/meminfo; busybox sed -n 2p /proc/swaps | busybox tr -s ' \\t' ' ' | busybox cut -d ' ' -f 3
    busybox free -k | busybox sed -n '/^Swap/s/^Swap: *\\([0-9]*\\).*/\\1/p'" bundle=/run/containerd/io.containerd.runtime.v2.task/default/own
  works update $bundle "{ \"memory\": { \"limit\": $LIMIT, \"swap\": $((LIMIT + (32 << 20))) } }"
  is memory.swap.max "$(cat $GROUP/memory.swap.max)" $((32 << 20))
  sleep 1
  is "what it has" "$(inside own sh -c "$says" | tr '\n' ' ')" "32768 32768 32768 "
  echo "$says" > /var/tmp/says
  works inside own sh -c 'cat > /b/rootfs/says' < /var/tmp/says
  is "what an inner container has" "$(inside own sh -c 'cd /b; /usr/sbin/runc --root /b/run run inner' 2>&1 | tr '\n' ' ')" "16384 16384 16384 "
  swapoff /var/tmp/swap
  rm /var/tmp/swap /var/tmp/says
  works inside own mv /b/plain.json /b/config.json
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

check_a_killed_stage_is_replaced() {
  local init shim
  init=$(pid own)
  shim=$(awk '$1 == "PPid:" { print $2 }' "/proc/$init/status")
  works inside own sh -c 'mkdir -p /p /q; mount -t proc p /p && umount /p'
  kill -KILL $(pgrep -P "$shim" | grep -vx "$init")
  works inside own sh -ec 'mount --bind / /q; [ -e /q/bin/busybox ]; umount /q; ! [ -e /q/bin ]; mknod /null c 1 3; echo x > /null; rm /null'
  if since 6.15; then
    works inside own sh -ec 'mount -t proc p /p; [ "$(cat /p/sys/kernel/panic)" = "$(cat /proc/sys/kernel/panic)" ]; umount /p'
  else
    refused "ermission denied" inside own mount -t proc p /p
    refused "ermission denied" inside own mount -t sysfs s /p
    refused "not permitted" inside own /usr/bin/unshare --pid --fork --mount --mount-proc true
    refused "not permitted" inside own /usr/bin/unshare --user --map-root-user --pid --fork --mount --mount-proc true
  fi
  is "every proc" "$(inside own sh -c 'grep -c " - proc " /proc/self/mountinfo; ls /p | wc -l' | tr '\n' ' ')" "1 0 "
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
  eventually "its range is free" sh -c '[ "$(containerd-shim-eci-v2 ranges | wc -l)" = 1 ]'
  rm -r /var/tmp/nodes
}
