# Run in a test host by ../bench, with OURS and RUNS: prints lines `WHAT RUNTIME NANOSECONDS` of ./emulated.c in privileged
# containers.
set -euo pipefail
ours=$1 image=docker.io/library/busybox:latest
# A host's /run is a tmpfs, in which the values live that containers write; a test host's is not.
mkdir -p /run/eci
mount -t tmpfs tmpfs /run/eci
ctr image import /hosts/images/busybox.tar > /dev/null
# The bundle of an inner container, of runc's own spec, which mounts a proc and a sysfs, and runc itself.
mkdir -p /state/inner/rootfs
runc spec --bundle /state/inner
sed -i 's/"terminal": true/"terminal": false/; s/"sh"/"true"/' /state/inner/config.json
bind() { echo "--mount type=bind,src=$1,dst=$2,options=rbind:ro"; }
usr=/hosts/rootfs/trixie/usr
inner="$(bind /state/inner /inner) $(bind /hosts/images/busybox /inner/rootfs) $(bind $usr /usr) $(bind $usr/lib /lib) \
  $(bind $usr/lib64 /lib64) --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=rw"
for n in $(seq 5); do
  for runtime in $ours runc; do
    case $runtime in
      runc) with="--runtime io.containerd.runc.v2" ;;
      *) with="--runtime $runtime" ;;
    esac
    ctr run $with --rm --privileged $(bind /opt/shim/emulated /emulated) $inner $image "emulated-$n" /emulated /home | sed "s/ / $runtime /"
  done
done
