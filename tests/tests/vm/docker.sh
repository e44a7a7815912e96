# Runs in the virtual machine whose process 1 is systemd (cgroup v2 alone): Docker, whose cgroup driver is systemd's there.
# No bridge and no packet filter: they are the same on every machine, and their modules are not on this one.
dockerd --bridge=none --iptables=false --ip6tables=false --containerd /run/containerd/containerd.sock \
  --default-runtime "$RUNTIME" > dockerd.log 2>&1 &
SECONDS=0
until docker version > /dev/null 2>&1; do [ $SECONDS -lt 120 ] || { tail dockerd.log; exit 1; }; sleep 0.1; done
docker load --quiet --input busybox.tar > /dev/null || exit 1
DOCKER="docker run --network none"

scope() { echo "docker-$(docker inspect -f '{{.Id}}' "$1").scope"; }
# files NAME FILE...: what the container sees of its own group.
files() { local name=$1; shift; docker exec "$name" cat "${@/#//sys/fs/cgroup/}" | tr '\n' ' '; }
# No container, and nothing of one in systemd.
no_container() {
  docker rm -f $(docker ps -aq) > /dev/null 2>&1
  is "scopes" "$(systemctl list-units --all --plain --no-legend 'docker-*.scope')" ""
}

check_docker_has_systemd_make_a_scope_with_the_limits() {
  is "the driver" "$(docker info -f '{{.CgroupDriver}} {{.CgroupVersion}}')" "systemd 2"
  works $DOCKER -d --name c1 --memory 64m --memory-swap 64m --cpus 0.5 --pids-limit 20 busybox sleep 1000
  is "properties" "$(show "$(scope c1)" MemoryMax CPUQuotaPerSecUSec TasksMax Slice Delegate)" "67108864 500ms 20 system.slice yes "
  is "files" "$(files c1 memory.max cpu.max pids.max)" "67108864 50000 100000 20 "
  has "stats" "$(docker stats --no-stream --format '{{.MemUsage}} {{.PIDs}}' c1)" "/ 64MiB 1"
  has "top" "$(docker top c1)" "sleep 1000"
  works docker update --memory 128m --memory-swap 128m --cpus 1 --pids-limit 30 c1
  is "properties after the update" "$(show "$(scope c1)" MemoryMax CPUQuotaPerSecUSec TasksMax)" "134217728 1s 30 "
  is "files after the update" "$(files c1 memory.max cpu.max pids.max)" "134217728 100000 100000 30 "
  works systemctl daemon-reload
  is "files after a reload" "$(files c1 memory.max cpu.max pids.max)" "134217728 100000 100000 30 "
  # A limit that it cannot have changes nothing.
  refused "memory" docker update --memory 4k c1
  is "files after a refusal" "$(files c1 memory.max cpu.max pids.max)" "134217728 100000 100000 30 "
  no_container
}

check_docker_run_has_a_range_of_its_own_and_the_programs_exit_code() {
  status 7 $DOCKER --rm busybox sh -c 'read -r inside outside size < /proc/self/uid_map; [ $inside = 0 ] && [ $outside -ge 65536 ] && [ $size = 65536 ] && exit 7'
  is "stdin" "$(echo typed | $DOCKER --rm -i busybox cat)" typed
  no_container
}

check_docker_tells_that_memory_ran_out() {
  status 137 $DOCKER --name c1 --memory 16m --memory-swap 16m busybox sh -c 'tail /dev/zero'
  no_container
}

check_docker_pauses_and_executes() {
  works $DOCKER -d --name c1 busybox sh -c 'while :; do sleep 0.1; done'
  works docker pause c1
  is "frozen" "$(grep ^frozen "$CGROUP/system.slice/$(scope c1)/cgroup.events")" "frozen 1"
  refused "paused" docker exec c1 true
  works docker unpause c1
  status 3 docker exec -u 1000 c1 sh -c '[ "$(id -u)" = 1000 ] && exit 3'
  no_container
}

check_docker_copies_both_ways_and_keeps_owners() {
  works $DOCKER -d --name c1 -v data:/data busybox sh -c 'echo inside > /made && touch /data/file && chown 1000:100 /made /data/file && sleep 1000'
  eventually "the file is made" docker exec c1 sh -c '[ "$(stat -c %u /data/file)" = 1000 ]'
  is "out" "$(docker cp c1:/made - | tar xO)" inside
  echo outside > copied
  works docker cp copied c1:/copied
  is "in" "$(docker exec c1 sh -c 'cat /copied; stat -c %u:%g /copied /made' | tr '\n' ' ')" "outside 0:0 1000:100 "
  is "the volume on disk" "$(stat -c %u:%g "$(docker volume inspect -f '{{.Mountpoint}}' data)/file")" 1000:100
  works docker restart -t 0 c1
  is "after a restart" "$(docker exec c1 cat /copied)" outside
  no_container
  works docker volume rm data
}

check_docker_mounts_read_only_for_ever() {
  mkdir -p /var/tmp/shared/below
  mount -t tmpfs below /var/tmp/shared/below
  local try='for at in /m /m/below; do ! touch $at/file && ! mount -o remount,bind,rw $at && ! umount $at || exit 1; done
    mount -t tmpfs own /mnt && mount -o remount,ro own /mnt && ! touch /mnt/file && mount -o remount,rw own /mnt && touch /mnt/file'
  works $DOCKER --rm --cap-add SYS_ADMIN -v /var/tmp/shared:/m:ro busybox sh -c "mkdir /mnt; $try"
  umount /var/tmp/shared/below
  no_container
}

check_a_privileged_docker_container_owns_itself_alone() {
  works $DOCKER -d --name c1 --privileged busybox sleep 1000
  works docker exec c1 sh -c 'mkdir /sys/fs/cgroup/own && echo 1000000 > /sys/fs/cgroup/own/memory.max'
  refused "Permission denied" docker exec c1 sh -c 'echo max > /sys/fs/cgroup/pids.max'
  refused "ermi" docker exec c1 sh -c 'echo x > /proc/sys/kernel/core_pattern'
  refused "ot permitted" docker exec c1 mknod /disk b 8 0
  refused "" docker exec c1 sh -c 'for disk in /dev/vd? /dev/sd?; do head -c 1 $disk && exit 0; done; exit 1'
  no_container
}

check_docker_shares_no_namespace_with_the_host() {
  local because="with the host (because they use the linux user-namespace for isolation)"
  refused "eci containers can't share namespaces [pid] $because" $DOCKER --rm --pid host busybox true
  refused "eci containers can't share a network namespace $because" docker run --rm --network host busybox true
  has "--userns=host" "$($DOCKER --rm --userns host busybox cat /proc/self/uid_map)" " 65536"
  is "--cgroupns=host" "$($DOCKER --rm --cgroupns host busybox cat /proc/self/cgroup)" 0::/init.scope
  no_container
}
