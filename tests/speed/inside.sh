# Run in a test host by ../bench, with OURS and RUNS: prints lines `WHAT RUNTIME VALUE`, times in nanoseconds, memory in KiB.
set -euo pipefail
ours=$1 runs=$2 image=docker.io/library/busybox:latest
ctr image import /hosts/images/busybox.tar > /dev/null
runtimes="$ours runc crun"

# run RUNTIME ARGUMENT...: ctr run.
run() {
  local runtime=$1
  shift
  case $runtime in
    runc | crun) ctr run --runtime io.containerd.runc.v2 --runc-binary "$runtime" "$@" ;;
    *) ctr run --runtime "$runtime" "$@" ;;
  esac
}

gone() {
  local id
  for id in "$@"; do
    ctr task rm -f "$id" > /dev/null 2>&1
    ctr container rm "$id"
  done
}

for runtime in $runtimes; do
  run "$runtime" --detach $image "long-$runtime" sleep 100000
  run "$runtime" --rm $image warm true
done
for n in $(seq "$runs"); do
  for runtime in $runtimes; do
    timed run "$runtime" run "$runtime" --rm $image "run-$n" true
    timed exec "$runtime" ctr task exec --exec-id "exec-$n" "long-$runtime" true
  done
done

path() {
  # With a profile, as engines give every container one.
  run "$1" --rm --seccomp --mount type=bind,src=/opt/shim/path,dst=/path,options=rbind:ro $image "path-$1" /path /home
}
for n in $(seq 10); do
  for runtime in $runtimes; do path "$runtime" | sed "s/ / $runtime /"; done
done
for runtime in $runtimes; do gone "long-$runtime"; done

# fifty RUNTIME: as many starts at once.
fifty() {
  local n
  for n in $(seq 50); do run "$1" --detach $image "many-$n" sleep 100000 & done
  wait
}
for n in 1 2 3; do
  for runtime in $runtimes; do
    timed fifty "$runtime" fifty "$runtime"
    gone $(seq -f many-%.0f 50)
  done
done

# What the shims have in memory, each page by its share (proc_pid_smaps(5)), for a container.
pss() {
  local pid
  for pid in $(pgrep -f '^(/[^ ]*/)?containerd-shim-'); do cat "/proc/$pid/smaps_rollup"; done | awk '/^Pss:/ { sum += $2 } END { print sum }'
}
for runtime in $runtimes; do
  started=0
  for count in 1 10 100; do
    while [ $started -lt $count ]; do
      started=$((started + 1))
      run "$runtime" --detach $image "idle-$started" sleep 100000
    done
    sleep 2
    echo "pss-$count $runtime $(($(pss) / count))"
  done
  gone $(seq -f idle-%.0f 100)
done
