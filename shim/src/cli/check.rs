//! `check`: what this host offers, what is missing, and what that costs.
//!
//! [`probe`] looks at the host; here the findings are judged and shown. Every judgement is a line of one table.

mod probe;

use probe::Host;

/// How a finding is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// As wanted.
    Good,
    /// Containers run, with less.
    Weaker,
    /// Containers do not run.
    Missing,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    subject: &'static str,
    found: String,
    verdict: Verdict,
    /// What a verdict that is not good costs.
    cost: &'static str,
}

/// Looks at this host. Returns the table, and whether containers can run.
pub(super) fn run() -> (String, bool) {
    let findings = judge(&Host::probe());
    let usable = findings.iter().all(|finding| finding.verdict != Verdict::Missing);
    (table(&findings), usable)
}

fn table(findings: &[Finding]) -> String {
    let mut rows = vec![["", "WHAT", "FOUND", "COST"].map(str::to_owned)];
    rows.extend(findings.iter().map(|finding| {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Weaker => "weaker",
            Verdict::Missing => "MISSING",
        };
        let cost = if finding.verdict == Verdict::Good { "" } else { finding.cost };
        [mark, finding.subject, &finding.found, cost].map(str::to_owned)
    }));
    columns(&rows)
}

/// Text in columns as wide as their widest field.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(field, width)| format!("{field:width$}")).collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One line: `good` is what is wanted, anything else gets `other` and its cost.
fn finding(subject: &'static str, found: String, good: bool, other: Verdict, cost: &'static str) -> Finding {
    Finding { subject, found, verdict: if good { Verdict::Good } else { other }, cost }
}

fn judge(host: &Host) -> Vec<Finding> {
    let mut findings = kernel(host);
    findings.extend(storage(host));
    findings.extend(limits(host));
    findings
}

fn kernel(host: &Host) -> Vec<Finding> {
    use Verdict::{Missing, Weaker};
    let yes = |there: bool| if there { "yes" } else { "no" }.to_owned();
    let yes_or_why_not = |there: &Result<(), String>| match there {
        Ok(()) => "yes".to_owned(),
        Err(why) => format!("no: {why}"),
    };
    let release = host.release.as_str();
    let at_least = |version| version_of(release) >= version;
    vec![
        finding(
            "kernel",
            release.to_owned(),
            at_least((5, 19)),
            Missing,
            "5.19 shows the layers of an image through an id map",
        ),
        finding(
            "user namespaces",
            host.max_user_namespaces.map_or("none".to_owned(), |max| format!("at most {max}")),
            host.max_user_namespaces.is_some_and(|max| max >= 16),
            Missing,
            "each container needs one (sysctl user.max_user_namespaces)",
        ),
        finding(
            "time namespace",
            yes(host.time_namespace),
            host.time_namespace,
            Weaker,
            "containers see the host's uptime and boot time",
        ),
        finding("overlay", yes(host.overlay), host.overlay, Missing, "images of several layers cannot be mounted"),
        finding(
            "id-mapped tmpfs",
            yes(at_least((6, 3))),
            at_least((6, 3)),
            Weaker,
            "a tmpfs of the host, such as the /dev/shm of a pod, is not bound into a container (6.3)",
        ),
        finding(
            "cgroups",
            host.cgroups.clone().unwrap_or_else(|| "none".to_owned()),
            host.cgroups.is_some(),
            Missing,
            "limits and the end of containers depend on them",
        ),
        finding(
            "seccomp notify",
            yes_or_why_not(&host.seccomp_notify),
            host.seccomp_notify.is_ok(),
            Weaker,
            "no inner container engine, no device nodes, the host's sysinfo: no system call is answered for a container",
        ),
        finding(
            "FUSE",
            yes_or_why_not(&host.fuse),
            host.fuse.is_ok(),
            Weaker,
            "no file of /proc and /sys is emulated: they tell of the host, and its settings cannot be written",
        ),
        finding(
            "io_uring",
            match host.io_uring_disabled {
                Some(0) => "allowed".to_owned(),
                Some(level) => format!("kernel.io_uring_disabled = {level}"),
                None => "not in this kernel".to_owned(),
            },
            host.io_uring_disabled == Some(0),
            Weaker,
            "programs in containers fall back to other calls",
        ),
        finding(
            "AppArmor and user namespaces",
            if host.apparmor_restricts_userns { "restricted" } else { "not restricted" }.to_owned(),
            !host.apparmor_restricts_userns,
            Weaker,
            "unprivileged processes cannot nest user namespaces (kernel.apparmor_restrict_unprivileged_userns)",
        ),
    ]
}

fn storage(host: &Host) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, filesystem, mappable) in &host.storage {
        // Below /run is a tmpfs, where root filesystems are mounted but none is kept.
        let (verdict, cost) = if path.starts_with("/run/") {
            (Verdict::Weaker, "what engines keep there and bind into a container is not shown as its own")
        } else {
            (Verdict::Missing, "a container whose files are there cannot be shown them as its own")
        };
        let found = format!("{path} ({filesystem}): {}", if *mappable { "yes" } else { "no" });
        findings.push(finding("id-mapped mounts", found, *mappable, verdict, cost));
    }
    for (path, mode, traversable) in &host.volumes {
        findings.push(finding(
            "volume directory",
            format!("{path} (mode {:o})", mode & 0o7777),
            !traversable,
            Verdict::Weaker,
            "host users can reach set-uid files that a container's root has left there: chmod o-x",
        ));
    }
    if host.volumes.is_empty() {
        findings.push(finding("volume directory", "none yet".to_owned(), true, Verdict::Weaker, ""));
    }
    findings
}

fn limits(host: &Host) -> Vec<Finding> {
    use Verdict::{Missing, Weaker};
    let (found, free) = match &host.pool {
        Ok((ranges, free)) => (format!("{ranges} ranges, {free} of them without another owner"), *free),
        Err(error) => (error.clone(), 0),
    };
    let at_least = |limit: Option<u64>, wanted: u64| limit.is_some_and(|limit| limit >= wanted);
    let shown = |limit: Option<u64>| limit.map_or("unknown".to_owned(), |limit| limit.to_string());
    vec![
        finding("id ranges", found, free > 0, Missing, "each container needs 65536 host ids of its own"),
        finding(
            "keys per user",
            shown(host.maxkeys),
            at_least(host.maxkeys, 1000),
            Weaker,
            "many processes of one container id need a keyring each (sysctl kernel.keys.maxkeys)",
        ),
        finding(
            "inotify instances per user",
            shown(host.inotify_instances),
            at_least(host.inotify_instances, 1024),
            Weaker,
            "systemd in containers needs dozens each (sysctl fs.inotify.max_user_instances)",
        ),
        finding(
            "inotify watches per user",
            shown(host.inotify_watches),
            at_least(host.inotify_watches, 65536),
            Weaker,
            "programs that watch trees run out (sysctl fs.inotify.max_user_watches)",
        ),
    ]
}

/// Major and minor version of a kernel release (`6.18.44-amd64`); 0.0 where it cannot be read.
fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Host {
        Host {
            release: "6.18.44-amd64".into(),
            max_user_namespaces: Some(95_000),
            time_namespace: true,
            overlay: true,
            cgroups: Some("v2".into()),
            seccomp_notify: Ok(()),
            fuse: Ok(()),
            io_uring_disabled: Some(0),
            apparmor_restricts_userns: false,
            storage: vec![("/var/lib/containerd".into(), "ext4".into(), true)],
            volumes: vec![("/var/lib/docker/volumes".into(), 0o040_700, false)],
            pool: Ok((4096, 4095)),
            maxkeys: Some(2000),
            inotify_instances: Some(8192),
            inotify_watches: Some(524_288),
        }
    }

    fn bad_ones(host: &Host) -> Vec<(&'static str, Verdict)> {
        let bad = judge(host).into_iter().filter(|finding| finding.verdict != Verdict::Good);
        bad.map(|finding| (finding.subject, finding.verdict)).collect()
    }

    #[test]
    fn a_good_host_costs_nothing() {
        assert_eq!(bad_ones(&good()), []);
        assert!(!table(&judge(&good())).contains("weaker"));
    }

    #[test]
    fn each_thing_that_is_missing_is_one_line_with_its_cost() {
        use Verdict::{Missing, Weaker};
        for (host, expected) in [
            (Host { release: "5.10.0".into(), ..good() }, vec![("kernel", Missing), ("id-mapped tmpfs", Weaker)]),
            (Host { max_user_namespaces: Some(0), ..good() }, vec![("user namespaces", Missing)]),
            (Host { time_namespace: false, ..good() }, vec![("time namespace", Weaker)]),
            (Host { cgroups: None, ..good() }, vec![("cgroups", Missing)]),
            (Host { seccomp_notify: Err("busy".into()), ..good() }, vec![("seccomp notify", Weaker)]),
            (Host { fuse: Err("open /dev/fuse".into()), ..good() }, vec![("FUSE", Weaker)]),
            (Host { io_uring_disabled: Some(2), ..good() }, vec![("io_uring", Weaker)]),
            (Host { pool: Ok((10, 0)), ..good() }, vec![("id ranges", Missing)]),
            (Host { volumes: vec![("/v".into(), 0o701, true)], ..good() }, vec![("volume directory", Weaker)]),
            (Host { storage: vec![("/s".into(), "nfs".into(), false)], ..good() }, vec![("id-mapped mounts", Missing)]),
            (
                Host { storage: vec![("/run/containerd".into(), "tmpfs".into(), false)], ..good() },
                vec![("id-mapped mounts", Weaker)],
            ),
        ] {
            assert_eq!(bad_ones(&host), expected);
            assert!(table(&judge(&host)).lines().any(|line| line.contains(expected[0].0) && line.len() > 40));
        }
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        assert_eq!(version_of("6.18.44-amd64"), (6, 18));
        assert!(version_of("5.4.0") < (5, 19) && version_of("") < (5, 19) && version_of("10.0-rc1") > (6, 3));
    }

    #[test]
    fn this_host_can_be_looked_at() {
        let (text, _) = run();
        assert!(text.lines().count() > 12 && text.lines().all(|line| !line.ends_with(' ')), "{text}");
    }
}
