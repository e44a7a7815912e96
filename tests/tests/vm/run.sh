# Runs in the virtual machine: starts containerd, then every check. For each it prints a line "RESULT name ok" or
# "RESULT name failed" and, below, what was wrong.
RUNTIME=io.containerd.eci.v2
IMAGE=docker.io/library/busybox:latest
RUN="ctr run --runtime $RUNTIME"
CGROUP=/sys/fs/cgroup

fail() { echo "$*" >> failures; }
is() { [ "$2" = "$3" ] || fail "$1: is ${2@Q}, should be ${3@Q}"; }
has() { [[ "$2" == *"$3"* ]] || fail "$1: ${2@Q} lacks ${3@Q}"; }
# status WANTED COMMAND..., works COMMAND...: run it; refused TEXT COMMAND...: it must fail and say TEXT.
status() {
  local wanted=$1 out got
  shift
  out=$("$@" 2>&1)
  got=$?
  [ $got = "$wanted" ] || fail "$*: status $got, should be $wanted: $out"
}
works() { status 0 "$@"; }
refused() {
  local text=$1 out
  shift
  if out=$("$@" 2>&1); then fail "$*: should have been refused: $out"; else has "$*" "$out" "$text"; fi
}
# eventually WHAT COMMAND...: within 90 s, on a machine that is emulated.
eventually() {
  local what=$1 end=$((SECONDS + 90))
  shift
  until "$@"; do [ $SECONDS -lt $end ] || { fail "never: $what"; return; }; sleep 0.1; done
}
inside() { local id=$1; shift; ctr task exec --exec-id "e$RANDOM$RANDOM" "$id" "$@"; }
pid() { ctr task list | awk -v id="$1" '$1 == id { print $2 }'; }
gone() {
  ctr task rm --force "$1" > /dev/null 2>&1
  works ctr container rm "$1"
  [ ! -d "$CGROUP/default/$1" ] || fail "the group of $1 is left"
}
# spec PROCESS RESOURCES: ctr's own spec with these fields, for the unpacked image.
spec() {
  ctr oci spec | sed -e "s|\"cwd\": \"/\"|$1|" -e "s|\"resources\": {|\"resources\": { $2,|" \
    -e 's|"path": "rootfs"|"path": "/run/job/rootfs"|' -e 's|"cgroupsPath": "/default"|"cgroupsPath": "/default/few"|'
}
# What a container could leave behind. The fifos of a container whose shim was killed are ctr's to leave.
machine() {
  find $CGROUP -type d
  cut -d ' ' -f 3- /proc/self/mountinfo
  find /run -path /run/job -prune -o -path '/run/eci*' -name '*-*' -print -o -path '/run/containerd/*.task/*/*' -print
  pgrep -l containerd-shim
}

mkdir -p /etc/containerd
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' > /etc/containerd/config.toml
containerd > containerd.log 2>&1 &
SECONDS=0
until ctr version > /dev/null 2>&1; do [ $SECONDS -lt 60 ] || { cat containerd.log; exit 1; }; sleep 0.1; done
ctr image import busybox.tar > /dev/null || exit 1
. ./checks.sh
machine > before
for check in $(sed -n 's/^\(check_[a-z_]*\)() {$/\1/p' checks.sh); do
  rm -f failures
  # A shell of its own: an error of the shell's ends the check alone.
  ("$check" && :; exit 0) > output 2>&1 || fail "the check itself ended with $?"
  [ ! -e failures ] && { echo "RESULT ${check#check_} ok"; continue; }
  echo "RESULT ${check#check_} failed"
  cat failures output
  tail -n 5 containerd.log
done
