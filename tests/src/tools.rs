//! What a container's own tools, those of Debian and of busybox, say of processors, memory and time, so that tests see whether
//! they agree.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::place;

/// Where [`binds`] come from; none, in words, where it is not there.
pub fn missing() -> Option<String> {
    (!root().join(".complete").exists())
        .then(|| "there is no chroot of Debian trixie (tests/hosts/chroot trixie)".to_owned())
}

fn root() -> PathBuf {
    place::hosts().join("rootfs/trixie")
}

/// What to bind, read-only, over the image busybox to have Debian's tools beside its own.
pub fn binds() -> [(PathBuf, &'static str); 3] {
    [(root().join("usr"), "/usr"), (root().join("usr/lib"), "/lib"), (root().join("usr/lib64"), "/lib64")]
}

/// The same for docker on a test host.
pub const DOCKER: &str = "-v /hosts/rootfs/trixie/usr:/usr:ro -v /hosts/rootfs/trixie/usr/lib:/lib:ro \
                          -v /hosts/rootfs/trixie/usr/lib64:/lib64:ro";

/// For Debian's bash, as busybox's shell takes its own applets whatever the path says.
///
/// Prints a line `WHAT TOOL NUMBER` for each tool: `cpus`, `allowed` (what sched_getaffinity(2) allows, for tools that go by
/// that), `memory` and `swap` in KiB, `free` in KiB, `up` in seconds, `load` in hundredths.
pub const SCRIPT: &str = r#"
export PATH=/usr/bin:/usr/sbin:/bin
tell() { echo "$1 $2 ${3:-nothing}"; }
kib() { awk -v name="$1:" '$1 == name { print $2 }' /proc/meminfo; }
# As the JVM and automaxprocs do it: the group of /proc/self/cgroup, below the root of its mount.
group() {
    if [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ]; then
        echo "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)"
        return
    fi
    of=$(awk -F: -v name="$1" '{ n = split($2, all, ","); for (i = 1; i <= n; i++) if (all[i] == name) print $3 }' /proc/self/cgroup)
    set -- $(awk -v name="$1" '{ for (i = 7; $i != "-"; i++); n = split($(i + 3), all, ",")
        for (j = 1; j <= n; j++) if ($(i + 1) == "cgroup" && all[j] == name) { print $4, $5; exit } }' /proc/self/mountinfo)
    [ "$1" = / ] || of=${of#"$1"}
    echo "$2${of%/}"
}
limit() {
    host=$1; text=$(cat "$(group memory)/memory.max" 2> /dev/null || cat "$(group memory)/memory.limit_in_bytes")
    case $text in max | ?????????????????*) echo "$host" ;; *) echo $((text / 1024)) ;; esac
}
quota() {
    text=$(cat "$(group cpu)/cpu.max" 2> /dev/null || cat "$(group cpu)/cpu.cfs_quota_us" "$(group cpu)/cpu.cfs_period_us")
    set -- $text
    case $1 in max | -1) getconf _NPROCESSORS_ONLN ;; *) echo $((($1 + $2 - 1) / $2)) ;; esac
}

tell cpus getconf "$(getconf _NPROCESSORS_ONLN)"
tell cpus conf "$(getconf _NPROCESSORS_CONF)"
tell cpus lscpu "$(LC_ALL=C lscpu | awk '$1 == "CPU(s):" { print $2 }')"
tell cpus lscpu-online "$(lscpu -p=CPU | grep -c '^[0-9]')"
tell cpus cpuinfo "$(grep -c '^processor' /proc/cpuinfo)"
tell cpus stat "$(grep -c '^cpu[0-9]' /proc/stat)"
tell cpus sysfs "$(ls -d /sys/devices/system/cpu/cpu[0-9]* | wc -l)"
tell cpus top "$(top -b -n 1 -1 -w 200 | grep -o '%Cpu[0-9 ]*:' | wc -l)"
tell cpus node "$(lscpu -p=CPU,NODE | grep -c '^[0-9]')"
tell quota group "$(quota)"
tell allowed nproc "$(nproc)"
tell allowed busybox "$(busybox nproc)"
tell memory meminfo "$(kib MemTotal)"
tell memory free "$(free -k | awk '/^Mem:/ { print $2 }')"
tell memory busybox "$(busybox free -k | awk '/^Mem:/ { print $2 }')"
tell memory vmstat "$(vmstat -s | awk '/total memory/ { print $1 }')"
tell memory top "$(top -b -n 1 -E k | awk '/^KiB Mem/ { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^total/) print $i + 0 }')"
tell memory getconf "$(($(getconf _PHYS_PAGES) * $(getconf PAGESIZE) / 1024))"
tell memory group "$(limit "$(kib MemTotal)")"
tell swap meminfo "$(kib SwapTotal)"
tell swap free "$(free -k | awk '/^Swap:/ { print $2 }')"
tell swap busybox "$(busybox free -k | awk '/^Swap:/ { print $2 }')"
tell swap vmstat "$(vmstat -s | awk '/total swap/ { print $1 }')"
tell swap swaps "$(awk 'NR > 1 { sum += $3 } END { print sum + 0 }' /proc/swaps)"
tell free meminfo "$(kib MemFree)"
tell free free "$(free -k | awk '/^Mem:/ { print $4 }')"
tell free busybox "$(busybox free -k | awk '/^Mem:/ { print $4 }')"
tell free vmstat "$(vmstat | awk 'NR == 3 { print $4 }')"
tell up uptime "$(awk '{ print int($1) }' /proc/uptime)"
tell up btime "$(($(date +%s) - $(awk '/^btime/ { print $2 }' /proc/stat)))"
tell up since "$(($(date +%s) - $(date -d "$(uptime -s)" +%s)))"
tell up ps "$(ps -o etimes= -p 1 | tr -d ' ')"
tell up started "$(($(date +%s) - $(date -d "$(LC_ALL=C ps -o lstart= -p 1)" +%s)))"
tell load loadavg "$(awk '{ print $1 * 100 }' /proc/loadavg)"
tell load uptime "$(uptime | sed 's/.*average: //; s/,.*//' | awk '{ print $1 * 100 }')"
tell load busybox "$(busybox uptime | sed 's/.*average: //; s/,.*//' | awk '{ print $1 * 100 }')"
tell load w "$(w | sed -n '1s/.*average: //p' | sed 's/,.*//' | awk '{ print $1 * 100 }')"
tell load top "$(top -b -n 1 | sed -n '1s/.*average: //p' | sed 's/,.*//' | awk '{ print $1 * 100 }')"
tell load later "$(awk '{ print $1 * 100 }' /proc/loadavg)"
tell up later "$(awk '{ print int($1) }' /proc/uptime)"
"#;

/// The shell of [`SCRIPT`].
pub const SHELL: &str = "/usr/bin/bash";

/// What [`SCRIPT`] has printed: by what is told, what each tool says.
#[derive(Debug)]
pub struct Told(BTreeMap<String, BTreeMap<String, u64>>);

impl Told {
    /// # Panics
    /// When a tool has said nothing that is a number.
    #[track_caller]
    pub fn parse(output: &str) -> Self {
        let mut told = BTreeMap::<_, BTreeMap<_, _>>::new();
        for line in output.lines() {
            let [what, tool, number] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line:?} of {output}") };
            let number = number.parse().unwrap_or_else(|_| panic!("{line:?} of {output}"));
            told.entry(what.to_owned()).or_default().insert(tool.to_owned(), number);
        }
        Self(told)
    }

    /// Every tool says `expected`, or up to `more` above or below it.
    #[track_caller]
    pub fn all(&self, what: &str, expected: u64, more: u64) {
        let said = self.0.get(what).unwrap_or_else(|| panic!("nobody says {what}"));
        assert!(said.len() > 1 || what == "quota", "{said:?}");
        for (tool, number) in said {
            assert!(number.abs_diff(expected) <= more, "{what}: {tool} says {number}, not {expected}: {said:?}");
        }
    }

    /// What one tool says.
    #[track_caller]
    pub fn one(&self, what: &str, tool: &str) -> u64 {
        *self.0.get(what).and_then(|said| said.get(tool)).unwrap_or_else(|| panic!("{tool} says nothing of {what}"))
    }

    /// All tools agree: on processors, memory and swap for sure, on what moves as far as it may have moved meanwhile.
    #[track_caller]
    pub fn agrees(&self) {
        self.all("cpus", self.one("cpus", "stat"), 0);
        self.all("allowed", self.one("allowed", "nproc"), 0);
        self.all("memory", self.one("memory", "meminfo"), 0);
        self.all("swap", self.one("swap", "meminfo"), 0);
        let moved = |what, first| self.one(what, "later").abs_diff(self.one(what, first));
        // In whole seconds, rounded here and there.
        self.all("up", self.one("up", "uptime"), 3 + moved("up", "uptime"));
        // Two of the samples, a second apart.
        self.all("load", self.one("load", "loadavg"), 20 + moved("load", "loadavg"));
    }
}
