//! The shim's log: logfmt lines into the `log` fifo of the bundle, which containerd copies into its own.
//!
//! Invariant: logging never holds the shim up and never ends it. The fifo is opened non-blocking and for reading too, so
//! neither a missing reader (no EPIPE) nor a full pipe (the line is dropped) is an error. One write per line: lines of
//! up to 4096 bytes are atomic (pipe(7)), longer ones are cut there.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use log::kv::{self, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};

/// pipe(7) `PIPE_BUF`.
const MAX_LINE: usize = 4096;

struct Logger(File);

/// Opens the fifo at `path`; none where there is no fifo (a start without containerd).
pub(crate) fn open(path: &Path) -> Option<File> {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()
}

/// Logs to `fifo` from now on, panics included.
pub(crate) fn install(fifo: File, debug: bool) {
    log::set_max_level(if debug { LevelFilter::Debug } else { LevelFilter::Info });
    if log::set_boxed_logger(Box::new(Logger(fifo))).is_ok() {
        std::panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(record, SystemTime::now());
            // A line that cannot be written is lost, not an error.
            let _ = (&self.0).write(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// `time=… level=… msg=… key=…`
fn line(record: &Record<'_>, now: SystemTime) -> String {
    let mut line = format!("time={} level=", rfc3339(now));
    line.push_str(match record.level() {
        log::Level::Error => "error",
        log::Level::Warn => "warning",
        log::Level::Info => "info",
        log::Level::Debug | log::Level::Trace => "debug",
    });
    line.push_str(" msg=");
    quote(&mut line, &record.args().to_string());
    line.push_str(" runtime=io.containerd.eci.v2");
    // Visiting a record's pairs can fail only where our own visitor does, and it does not.
    let _ = record.key_values().visit(&mut Pairs(&mut line));
    let mut end = line.len().min(MAX_LINE - 1);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    line.truncate(end);
    line.push('\n');
    line
}

struct Pairs<'a>(&'a mut String);

impl<'kvs> VisitSource<'kvs> for Pairs<'_> {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push(' ');
        self.0.push_str(key.as_str());
        self.0.push('=');
        quote(self.0, &value.to_string());
        Ok(())
    }
}

/// Adds a value: bare where logfmt can tell where it ends, else in quotes, with no line break and no control character.
fn quote(line: &mut String, value: &str) {
    let bare = |c: char| c.is_ascii_alphanumeric() || "-._/@^+:,".contains(c);
    if !value.is_empty() && value.chars().all(bare) {
        line.push_str(value);
        return;
    }
    line.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

/// `2026-11-24T00:11:42.123456789Z`
pub(crate) fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86400, since.as_secs() % 86400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Year, month and day of a day since 1970-01-01, in the Gregorian calendar: eras of 400 years (146,097 days) whose
/// years begin in March, so that a leap day is a year's last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn quoted(value: &str) -> String {
        let mut line = String::new();
        quote(&mut line, value);
        line
    }

    #[test]
    fn a_value_can_neither_end_its_field_nor_start_a_line() {
        assert_eq!(quoted("plain/path-1.2"), "plain/path-1.2");
        assert_eq!(quoted(""), "\"\"");
        assert_eq!(quoted("two words"), "\"two words\"");
        assert_eq!(quoted("a\" level=info\nx=\\"), r#""a\" level=info\nx=\\""#);
        assert_eq!(quoted("k=v\u{1b}[0m"), "\"k=v\\u001b[0m\"");
    }

    #[test]
    fn a_line_has_time_level_message_and_pairs_in_one_piece() {
        let time = UNIX_EPOCH + Duration::from_secs(1_795_479_102);
        let pairs = [("container", "c 1")];
        let record = |text: std::fmt::Arguments<'_>| {
            line(&Record::builder().level(log::Level::Warn).args(text).key_values(&pairs).build(), time)
        };
        let expected = "time=2026-11-24T00:11:42.000000000Z level=warning msg=\"not so\" \
                        runtime=io.containerd.eci.v2 container=\"c 1\"\n";
        assert_eq!(record(format_args!("not so")), expected);
        let long = record(format_args!("{}", "ä".repeat(5000)));
        assert!(long.len() <= MAX_LINE && long.ends_with('\n'));
    }

    #[test]
    fn dates_are_gregorian() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(11_017), (2000, 3, 1));
        assert_eq!(civil(47_541), (2100, 3, 1));
        assert_eq!(civil(20_818), (2026, 12, 31));
    }

    #[test]
    fn a_fifo_without_a_reader_or_with_a_full_pipe_holds_nothing_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        assert!(open(&path).is_none(), "no fifo, no log");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let logger = Logger(open(&path).unwrap());
        let text = "x".repeat(4000);
        for _ in 0..100 {
            logger.log(&Record::builder().level(log::Level::Error).args(format_args!("{text}")).build());
        }
    }
}
