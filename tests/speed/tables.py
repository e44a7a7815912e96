"""tables OURS RUNS FILE: prints the lines `WHAT RUNTIME VALUE` of a bench as Markdown tables: medians, p95 and ratios."""

import collections
import os
import platform
import statistics
import sys

# What ./path.c measures.
INSIDE = [
    ("getppid", "inside: `getppid`, ns", 1),
    ("pread", "inside: `pread` of a byte, ns", 1),
    ("futex", "inside: `futex` that wakes nobody, ns", 1),
    ("open+close", "inside: `open` and `close`, ns", 1),
    ("socket+close", "inside: `socket` and `close`, ns", 1),
    ("mknod", "inside: `mknod` of a file that is there, ns", 1),
    ("personality", "inside: `personality`, asked for, ns", 1),
    ("fork+exec", "inside: `fork` and `execve`, µs", 1),
    ("write", "inside: writing 128 MiB, ms", 1),
    ("read", "inside: reading 128 MiB, ms", 1),
]

ROWS = [
    ("run", "create + start + exit of `true`, ms", 1e6),
    ("exec", "exec of `true`, ms", 1e6),
    ("fifty", "50 starts at once, ms", 1e6),
    ("pss-1", "memory of the shim, 1 container, MiB", 1024),
    ("pss-10", "the same a container, 10 containers, MiB", 1024),
    ("pss-100", "the same a container, 100 containers, MiB", 1024),
] + INSIDE

DOCKER = [
    ("docker-run", "`docker run --rm` of `true`, ms", 1e6),
    ("docker-exec", "`docker exec` of `true`, ms", 1e6),
    ("docker-twenty", "20 times `docker run --rm` at once, ms", 1e6),
    ("docker-volume", "`docker run --rm` with a volume of 50 000 files, ms", 1e6),
    ("docker-image", "the first start of an image with 50 000 files, ms", 1e6),
] + [(f"docker-{what}", title, unit) for what, title, unit in INSIDE]

EMULATED = [
    (f"{how}-{name}", f"{title}, {what}", 1e3)
    for name, title in [
        ("uptime", "`/proc/uptime`"),
        ("meminfo", "`/proc/meminfo`"),
        ("stat", "`/proc/stat`"),
        ("sysctl", "`/proc/sys/kernel/panic`"),
    ]
    for how, what in [("cold", "once"), ("loop", "again and again"), ("again", "again and again, held open")]
] + [
    ("write-sysctl", "the same, written", 1e3),
    ("mount-tmpfs", "`mount` and `umount` of a tmpfs", 1e3),
    ("mount-proc", "`mount` of a procfs", 1e3),
    ("bind", "a plain bind of a directory and its `umount`", 1e3),
    ("open_tree", "`open_tree` of a clone and `close`", 1e3),
    ("openat2", "`openat2` and `close`", 1e3),
    ("sysctl-a", "`sysctl -a`", 1e3),
    ("find", "`find /proc /sys`", 1e3),
    ("inner", "`runc run` of `true`", 1e3),
]


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


def main(ours, runs, path):
    values = collections.defaultdict(list)
    for line in open(path):
        what, runtime, value = line.split()
        values[what, runtime].append(float(value))
    rcu = " ".join(word for word in open("/proc/cmdline").read().split() if word.startswith("rcu")) or "none"
    print(
        f"Linux {platform.release()}, {os.cpu_count()} processors, RCU settings on the command line: {rcu}; containerd 1.7,"
        f" {runs} interleaved runs (10 inside, 3 of 50 starts), median / p95\n"
    )
    print("| | ours | runc shim, runc | runc shim, crun | ours : runc | ours : crun |")
    print("|---|---|---|---|---|---|")
    for what, title, unit in ROWS:
        all_values = [values[what, runtime] for runtime in (ours, "runc", "crun")]
        shown = [f"{statistics.median(them) / unit:.2f} / {p95(them) / unit:.2f}" for them in all_values]
        mine, *peers = [statistics.median(them) for them in all_values]
        ratios = [f"{mine / peer:.2f}" for peer in peers]
        print(f"| {title} | " + " | ".join(shown + ratios) + " |")
    print("\nIn privileged containers, what ours emulates and traps, µs (5 interleaved runs), median / p95\n")
    print("| | ours | runc shim, runc | ours : runc |")
    print("|---|---|---|---|")
    for what, title, unit in EMULATED:
        both = [values[what, runtime] for runtime in (ours, "runc")]
        shown = [f"{statistics.median(them) / unit:.1f} / {p95(them) / unit:.1f}" for them in both]
        mine, peer = (statistics.median(them) for them in both)
        print(f"| {title} | " + " | ".join(shown) + f" | {mine / peer:.2f} |")
    print("\nThrough Docker 26, with its graph driver overlay2 (10 runs with the volume, 20 inside, 5 of the others but the first two):\n")
    print("| | ours | runc shim, runc | ours : runc |")
    print("|---|---|---|---|")
    for what, title, unit in DOCKER:
        both = [values[what, runtime] for runtime in (ours, "runc")]
        shown = [f"{statistics.median(them) / unit:.2f} / {p95(them) / unit:.2f}" for them in both]
        mine, peer = (statistics.median(them) for them in both)
        print(f"| {title} | " + " | ".join(shown) + f" | {mine / peer:.3f} |")
    shim, floor = (statistics.median(values["floor", who]) / 1e6 for who in ("shim", "kernel"))
    print(f"\nCreate + Start in the shim, without an engine: {shim:.1f} ms; the kernel alone: {floor:.1f} ms; {shim / floor:.1f} times.")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
