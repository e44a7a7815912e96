//! Which id ranges of the host are ours to give.
//!
//! One job: the texts of `/etc/subuid`, `/etc/subgid`, `/etc/passwd`, `/etc/group` and the operator's `[ranges]` go in,
//! a [`Pool`] comes out, and the pool answers which of its ranges is the lowest free one. Reading the files and
//! knowing which ranges are leased are the caller's part (`userns::lease`).
//!
//! Main types: [`HostIds`] (who else uses ids), [`Spans`] (a set of ids), [`Pool`].
//!
//! Invariant: a range that the pool gives is mapped where we run, and has no id in common with a subordinate range of
//! another owner, with an account, or with what the caller calls taken. Lines that are not understood are skipped, as newuidmap(1) and
//! getpwent(3) do: junk in a file that others own must not keep containers from starting.

use std::fmt;

use crate::Refusal;
use crate::config::Ranges;
use crate::idmap::{IdMap, RANGE_SIZE};
use crate::mapped::Mapped;

/// The owner in `/etc/subuid` and `/etc/subgid` whose lines mark our own pool.
pub const POOL_OWNER: &str = "eci";

/// One line of subuid(5) or subgid(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubIds<'a> {
    /// A login name, or a uid in digits.
    pub owner: &'a str,
    /// The first id.
    pub start: u32,
    /// How many ids, at least one; cut where the ids end.
    pub count: u32,
}

/// The lines of subuid(5) or subgid(5) that are well formed.
pub fn parse_subids(text: &str) -> impl Iterator<Item = SubIds<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (owner, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        if owner.is_empty() || owner.starts_with('#') || fields.next().is_some() {
            return None;
        }
        let start: u32 = start.trim().parse().ok()?;
        let count: u64 = count.trim().parse().ok()?;
        let count = u32::try_from(count).unwrap_or(u32::MAX).min(u32::MAX - start);
        (count > 0).then_some(SubIds { owner, start, count })
    })
}

/// The ids of passwd(5) (uids) or group(5) (gids): the third field of every line that has one.
pub fn parse_accounts(text: &str) -> impl Iterator<Item = u32> + '_ {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(':').nth(2)?.trim().parse().ok())
}

/// A set of host ids, as sorted, disjoint, half-open intervals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// Whether the map's host ids and the set have one in common.
    pub fn overlaps(&self, map: IdMap) -> bool {
        let (start, end) = bounds(map);
        let next = self.0.partition_point(|span| span.1 <= start);
        self.0.get(next).is_some_and(|span| span.0 < end)
    }

    /// Whether every host id of the map is in the set.
    pub fn contain(&self, map: IdMap) -> bool {
        let (start, end) = bounds(map);
        let next = self.0.partition_point(|span| span.1 <= start);
        self.0.get(next).is_some_and(|span| span.0 <= start && end <= span.1)
    }
}

impl fmt::Display for Spans {
    /// First and last id of each interval: `0-65535, 100000-165535`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no id");
        }
        let spans: Vec<_> = self.0.iter().map(|(start, end)| format!("{start}-{}", end - 1)).collect();
        f.write_str(&spans.join(", "))
    }
}

impl FromIterator<IdMap> for Spans {
    fn from_iter<I: IntoIterator<Item = IdMap>>(maps: I) -> Self {
        let mut spans: Vec<_> = maps.into_iter().map(bounds).filter(|span| span.0 < span.1).collect();
        spans.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
                _ => merged.push(span),
            }
        }
        Self(merged)
    }
}

fn bounds(map: IdMap) -> (u64, u64) {
    (u64::from(map.host), u64::from(map.host) + u64::from(map.size))
}

/// The texts of the host's files that say who uses which ids; an absent file is the empty text.
#[derive(Debug, Clone, Default)]
pub struct HostIds {
    /// `/etc/subuid`
    pub subuid: String,
    /// `/etc/subgid`
    pub subgid: String,
    /// `/etc/passwd`
    pub passwd: String,
    /// `/etc/group`
    pub group: String,
    /// Which ids there are.
    pub mapped: Mapped,
}

impl HostIds {
    /// The ids of everyone but us: other owners' subordinate ids, and the accounts.
    fn foreign(&self) -> Spans {
        let subids = parse_subids(&self.subuid).chain(parse_subids(&self.subgid));
        let owned = subids.filter(|line| line.owner != POOL_OWNER);
        let accounts = parse_accounts(&self.passwd).chain(parse_accounts(&self.group));
        owned
            .map(|line| IdMap { host: line.start, size: line.count })
            .chain(accounts.map(|id| IdMap { host: id, size: 1 }))
            .collect()
    }

    /// The ids that lines of `eci` mark, in order; none when there is no such line.
    fn marked(&self) -> Result<Option<Vec<IdMap>>, Refusal> {
        let lines = |text| {
            let ours = parse_subids(text).filter(|line| line.owner == POOL_OWNER);
            let mut maps: Vec<_> = ours.map(|line| IdMap { host: line.start, size: line.count }).collect();
            maps.sort_unstable_by_key(|map| (map.host, map.size));
            maps
        };
        let (uids, gids) = (lines(&self.subuid), lines(&self.subgid));
        if uids != gids {
            let reason =
                format!("its lines of \"{POOL_OWNER}\" must be those of /etc/subgid: uid and gid maps are the same");
            return Err(Refusal::new("/etc/subuid", reason));
        }
        Ok(if uids.is_empty() { None } else { Some(uids) })
    }
}

/// The ranges that may be leased.
#[derive(Debug, Clone)]
pub struct Pool {
    parts: Vec<IdMap>,
    foreign: Spans,
    mapped: Mapped,
    marked: bool,
}

impl Pool {
    /// The pool: what the operator's config names; else what lines of `eci` in both subuid and subgid mark; else
    /// 4096 ranges from id 100000 on.
    ///
    /// # Errors
    /// The lines of `eci` differ between the two files, begin below id 65536 or hold no whole range, and the config does not decide.
    pub fn new(config: &Ranges, host: &HostIds) -> Result<Self, Refusal> {
        let (foreign, mapped) = (host.foreign(), host.mapped.clone());
        if *config == Ranges::default()
            && let Some(parts) = host.marked()?
        {
            let refuse = |reason: &str| Err(Refusal::new("/etc/subuid", format!("\"{POOL_OWNER}\": {reason}")));
            if parts.iter().any(|part| part.host < RANGE_SIZE) {
                return refuse("a range must not begin below id 65536");
            }
            if parts.iter().all(|part| part.size < RANGE_SIZE) {
                return refuse("a range of 65536 ids does not fit");
            }
            return Ok(Self { parts, foreign, mapped, marked: true });
        }
        let host = config.first.unwrap_or(Ranges::DEFAULT_FIRST);
        let count = config.count.unwrap_or(Ranges::DEFAULT_COUNT);
        let size = count.saturating_mul(RANGE_SIZE).min(u32::MAX - host);
        Ok(Self { parts: vec![IdMap { host, size }], foreign, mapped, marked: false })
    }

    /// Every range of the pool that is mapped where we run, lowest first, also those that others use.
    pub fn ranges(&self) -> impl Iterator<Item = IdMap> + '_ {
        self.all().filter(|range| self.mapped.has(*range))
    }

    fn all(&self) -> impl Iterator<Item = IdMap> + '_ {
        self.parts.iter().flat_map(|part| {
            let starts = (0..part.size / RANGE_SIZE).map(|index| part.host + index * RANGE_SIZE);
            starts.map(|host| IdMap { host, size: RANGE_SIZE })
        })
    }

    /// Which ids there are where we run.
    pub fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// The lowest range of a pool of which none is mapped where we run.
    pub fn unmapped(&self) -> Option<IdMap> {
        if self.ranges().next().is_none() { self.all().next() } else { None }
    }

    /// Whether another owner or an account has one of the map's host ids.
    pub fn is_foreign(&self, map: IdMap) -> bool {
        self.foreign.overlaps(map)
    }

    /// The lowest range that nobody else uses and that is not `taken`.
    pub fn lowest_free(&self, taken: &Spans) -> Option<IdMap> {
        self.ranges().find(|range| !taken.overlaps(*range) && !self.foreign.overlaps(*range))
    }

    /// Where the pool's size is set, for the message of an exhausted pool.
    pub fn setting(&self) -> &'static str {
        if self.all().any(|range| !self.mapped.has(range)) {
            "the size of the map of the user namespace that eci runs in"
        } else if self.marked {
            "the lines of \"eci\" in /etc/subuid and /etc/subgid"
        } else {
            "ranges.count in /etc/eci/config.toml"
        }
    }
}

#[cfg(test)]
#[path = "subid_tests.rs"]
mod tests;
