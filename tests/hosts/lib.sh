# Sourced by the scripts of this directory and by ../sandbox: what they share.
#
# ECI_HOSTS says where chroots, images and running hosts are kept (default: build/hosts of this checkout).

scripts=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
checkout=$(readlink -f "$scripts/../..")
hosts=${ECI_HOSTS:-$checkout/build/hosts}
running=${ECI_HOSTS_RUN:-$hosts/run}

# The engines: Debian's suite, and the containerd that it brings.
suites="bookworm trixie sid"

# The suites that also boot with systemd: a test host (cgroup v1 and hybrid, which newer ones give up), the virtual machine.
systemd_suites="bookworm trixie"

# Kernels of the virtual machine: 6.1, 6.12, the newest.
kernel_suites="bookworm trixie sid"

# The suites whose own dockerd (26, 28.5) knows runtimes by their shim: Docker's test hosts `docker-trixie`, `docker-sid`.
docker_suites="trixie sid"

# The suite whose chroot also gets what makes namespaces of its own (bubblewrap): the tests in containers.
sandbox_suites="trixie"

# And the newest one, from its Go module: the test host `newest` is trixie with this containerd.
newest_containerd=v2.4.2

# The newest dockerd likewise: the test host `docker-newest` has it on that containerd.
newest_docker=v2.0.0-beta.21

# The runc that containerd's CRI suite and the newest dockerd are compared with.
suite_runc=v1.4.3

die() { echo "$*" >&2; exit 1; }

# build_newest NAME DIR WHAT: has the caller's function `build` fill DIR, whose programs are Go's to install in DIR/bin, and says
# WHAT it is. Does nothing where DIR is complete. Where it cannot be built DIR.unavailable has the reason, and the script
# fails.
build_newest() {
  local name=$1 dir=$2 what=$3 log=$hosts/log/$1.log start=$SECONDS
  [ ! -e "$dir/.complete" ] || return 0
  rm -rf "$dir" "$dir.part" "$dir.unavailable"
  mkdir -p "$dir.part/bin" "$hosts/log"
  export GOBIN=$dir.part/bin GOFLAGS=-mod=mod CGO_ENABLED=0 GOTOOLCHAIN=local
  if ! { command -v go || ! echo "there is no Go (1.26 or newer)"; } > "$log" || ! build >> "$log" 2>&1; then
    rm -rf "$dir.part"
    tail -n 1 "$log" > "$dir.unavailable"
    die "$name: $what cannot be built: $(cat "$dir.unavailable")"
  fi
  touch "$dir.part/.complete"
  mv "$dir.part" "$dir"
  echo "$name: $what, $((SECONDS - start)) s, $(du -sm "$dir" | cut -f 1) MB"
}

# install_into ROOT PACKAGE...: installs packages by a chroot's own apt. For a mount namespace of the caller's own: what is mounted
# here goes with that.
install_into() {
  local root=$1
  shift
  mount -t proc proc "$root/proc"
  mount --bind /etc/resolv.conf "$root/etc/resolv.conf" || :
  # sid may have a Release file older than it promises (see chroot).
  chroot "$root" env DEBIAN_FRONTEND=noninteractive bash -euc '
    apt-get -qq -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false update
    apt-get -qq -o Dpkg::Options::=--force-unsafe-io install -y --no-install-recommends "$@"
    apt-get clean
    find /var/lib/apt/lists -type f ! -name lock -delete' install "$@"
}

# The package mirror that this machine itself uses.
debian_mirror() {
  apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1
}

# own_cgroups NAME FILE: makes a group NAME in every hierarchy, below the caller's own group (or, on a pure cgroup v2
# host, where only an empty group may have children with controllers, below the root), and lists the paths in FILE.
own_cgroups() {
  local controllers path mount group file
  : > "$2"
  while IFS=: read -r _ controllers path; do
    if [ -n "$controllers" ]; then mount=/sys/fs/cgroup/${controllers#name=}
    elif [ -e /sys/fs/cgroup/cgroup.controllers ]; then mount=/sys/fs/cgroup path=/
    else mount=/sys/fs/cgroup/unified; fi
    [ -d "$mount" ] || continue
    group=$mount${path%/}/$1
    mkdir -p "$group"
    echo "$group" >> "$2"
    # A new cpuset (v1) is empty and takes no process before it has cpus and memory.
    for file in cpuset.cpus cpuset.mems; do
      [ -e "$group/tasks" ] && [ -e "$group/$file" ] && cat "$mount${path%/}/$file" > "$group/$file"
    done
  done < /proc/self/cgroup
  return 0
}

# enter_cgroups FILE: moves this (sub)shell into the groups that FILE lists.
enter_cgroups() {
  local group
  while read -r group; do
    [ -d "$group/init" ] && group=$group/init
    echo $BASHPID > "$group/cgroup.procs"
  done < "$1"
}

# thaw GROUP: lets go what v1's freezer holds in a group or below: it would not even die.
thaw() {
  local state
  find "$1" -name freezer.state 2> /dev/null | while read -r state; do
    echo THAWED > "$state" || :
  done || :
}

# remove_cgroups FILE: removes the groups that FILE lists with all below them, once their processes are gone.
remove_cgroups() {
  local group try
  [ -e "$1" ] || return 0
  while read -r group; do
    for try in $(seq 100); do
      [ -d "$group" ] || continue 2
      find "$group" -depth -type d -exec rmdir {} + 2> /dev/null || sleep 0.05
    done
    echo "still in use: $group: $(find "$group" -name cgroup.procs -exec cat {} + | tr '\n' ' ')" >&2
  done < "$1"
}

# A group that hands its controllers to its children has no processes of its own (cgroups(7)), and a cgroup namespace begins
# where its maker is. So whoever enters the namespaces of a machine of ours says so (entered STATE) and waits, while it is
# moved to a child of its group from outside, where all processes of the group can be seen (settle STATE PID).
entered() {
  touch "$1/entered"
  until [ -e "$1/settled" ]; do sleep 0.01; done
}

settle() {
  local group pid controller
  until [ -e "$1/entered" ]; do kill -0 "$2" 2> /dev/null || return; sleep 0.01; done
  while read -r group; do
    [ -e "$group/cgroup.controllers" ] || continue
    mkdir -p "$group/init"
    # Again while there are any: one may have forked meanwhile, or ended.
    while pid=$(head -n 1 "$group/cgroup.procs") && [ -n "$pid" ]; do
      echo "$pid" > "$group/init/cgroup.procs" || :
    done 2> /dev/null
    for controller in $(cat "$group/cgroup.controllers"); do echo "+$controller" > "$group/cgroup.subtree_control" || :; done
  done < "$1/cgroups"
  touch "$1/settled"
}

# mount_cgroups DIR v1|v2: mounts the hierarchies of this cgroup namespace on DIR; v2 shows the unified one alone.
mount_cgroups() {
  local controllers
  if [ "$2" = v2 ] || [ "$(grep -c . /proc/self/cgroup)" = 1 ]; then
    mount -t cgroup2 cgroup2 "$1"
    return 0
  fi
  mount -t tmpfs -o mode=755 cgroup "$1"
  while IFS=: read -r _ controllers _; do
    if [ -n "$controllers" ]; then
      mkdir "$1/${controllers#name=}"
      mount -t cgroup -o "$controllers" cgroup "$1/${controllers#name=}"
    else
      mkdir "$1/unified"
      mount -t cgroup2 cgroup2 "$1/unified"
    fi
  done < /proc/self/cgroup
}
