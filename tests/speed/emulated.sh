# Run in a test host by ../bench, with OURS and RUNS: prints lines `WHAT RUNTIME NANOSECONDS` of ./emulated.c in privileged
# containers.
set -euo pipefail
ours=$1 image=docker.io/library/busybox:latest
# A host's /run is a tmpfs, in which the values live that containers write; a test host's is not.
mkdir -p /run/eci
mount -t tmpfs tmpfs /run/eci
ctr image import /hosts/images/busybox.tar > /dev/null
for n in $(seq 5); do
  for runtime in $ours runc; do
    case $runtime in
      runc) with="--runtime io.containerd.runc.v2" ;;
      *) with="--runtime $runtime" ;;
    esac
    ctr run $with --rm --privileged --mount type=bind,src=/opt/shim/emulated,dst=/emulated,options=rbind:ro $image "emulated-$n" \
      /emulated /home | sed "s/ / $runtime /"
  done
done
