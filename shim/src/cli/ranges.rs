//! `ranges`: which container has which host ids.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use userns::lease::{Info, Leases, STATE_DIR, Status};

use crate::wire::logger::rfc3339;

/// The table of all leases.
///
/// # Errors
/// One line, when the leases cannot be read.
pub(super) fn run() -> Result<String, String> {
    if !std::path::Path::new(STATE_DIR).exists() {
        return Ok(table(&[]));
    }
    let leases = Leases::open(STATE_DIR).and_then(|leases| leases.list()).map_err(|error| error.to_string())?;
    Ok(table(&leases))
}

fn table(leases: &[Info]) -> String {
    let mut rows = vec![["RANGE", "CONTAINER", "NAMESPACE", "SINCE", "STATUS"].map(str::to_owned)];
    rows.extend(leases.iter().map(row));
    super::check::columns(&rows)
}

fn row(lease: &Info) -> [String; 5] {
    let last = u64::from(lease.map.host) + u64::from(lease.map.size).max(1) - 1;
    let unknown = || "-".to_owned();
    let (container, namespace) = match &lease.holder {
        Some(holder) => (holder.container.clone(), holder.namespace.clone()),
        None => (unknown(), unknown()),
    };
    let since = lease.since.map(|since| whole_seconds(UNIX_EPOCH + Duration::from_millis(since)));
    [
        format!("{}-{last}", lease.map.host),
        container,
        namespace,
        since.unwrap_or_else(unknown),
        match &lease.status {
            Status::Starting => "starting".to_owned(),
            Status::Running => "running".to_owned(),
            Status::Orphaned => "running without its shim".to_owned(),
            Status::Stopped => "stopped".to_owned(),
            Status::Unreadable(reason) => format!("not readable ({reason})"),
        },
    ]
}

/// `2026-11-24T00:11:42Z`
fn whole_seconds(time: SystemTime) -> String {
    let text = rfc3339(time);
    text.split_once('.').map_or(text.clone(), |(seconds, _)| format!("{seconds}Z"))
}

#[cfg(test)]
mod tests {
    use policy::idmap::IdMap;
    use userns::lease::Holder;

    use super::*;

    #[test]
    fn each_lease_is_a_line() {
        let lease = Info {
            map: IdMap { host: 100_000, size: 65536 },
            holder: Some(Holder { container: "c1".into(), namespace: "default".into() }),
            kind: None,
            since: Some(1_795_479_102_123),
            userns: None,
            status: Status::Running,
        };
        let lost = Info { holder: None, since: None, status: Status::Unreadable("torn".into()), ..lease.clone() };
        assert_eq!(
            table(&[lease, lost]),
            "RANGE          CONTAINER  NAMESPACE  SINCE                 STATUS\n\
             100000-165535  c1         default    2026-11-24T00:11:42Z  running\n\
             100000-165535  -          -          -                     not readable (torn)\n"
        );
    }
}
