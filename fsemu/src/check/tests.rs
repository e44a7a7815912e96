use std::fs::{File, read_to_string};
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::*;

const INT: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

/// The outcome of a write, and what shows then.
fn write(check: Check, before: &str, written: &[u8]) -> (Result<(), Errno>, String) {
    let mut text = before.as_bytes().to_vec();
    let outcome = check.write(&mut text, written);
    (outcome, String::from_utf8(text).expect("text"))
}

fn taken(check: Check, before: &str, written: &str, after: &str) {
    assert_eq!(write(check, before, written.as_bytes()), (Ok(()), after.to_owned()), "{check:?} {written:?}");
}

fn refused(check: Check, before: &str, written: &str, errno: Errno) {
    assert_eq!(write(check, before, written.as_bytes()), (Err(errno), before.to_owned()), "{check:?} {written:?}");
}

#[test]
fn integers_are_read_as_the_kernel_reads_them() {
    let check = Check::Integer(-8, 255);
    for (written, after) in [
        ("1", "1\n"),
        ("1\n", "1\n"),
        (" \t\n\u{b}1 \n", "1\n"),
        ("0x10", "16\n"),
        ("0XfF", "255\n"),
        ("010", "8\n"),
        ("-8", "-8\n"),
        ("-0", "0\n"),
        ("-0x8", "-8\n"),
        ("00000000000000000007", "7\n"),
        ("3 4", "3\n"),
        ("3\nx", "3\n"),
        ("", "5\n"),
    ] {
        taken(check, "5\n", written, after);
    }
    for written in [
        "256",
        "-9",
        " ",
        "\n",
        "x",
        "1x",
        "1,2",
        "1.5",
        "+1",
        "-",
        "- 1",
        "--1",
        "08",
        "0x",
        "0xg",
        "1\0",
        "1\u{b}",
        "18446744073709551616",
        "18446744073709551617",
        "000000000000000000007",
        "1e1",
        "true",
    ] {
        refused(check, "5\n", written, Errno::INVAL);
    }
    assert_eq!(write(check, "5\n", b"\xa01").1, "1\n");
    let page = [b" ".repeat(PAGE - 2), b"12".to_vec()].concat();
    assert_eq!(write(check, "5\n", &page), (Ok(()), "1\n".to_owned()));
}

#[test]
fn unsigned_ones_have_no_sign() {
    let check = Check::Unsigned(0, u64::MAX);
    taken(check, "5\n", "18446744073709551615", "18446744073709551615\n");
    taken(check, "5\n", "0", "0\n");
    for written in ["-0", "-1", "18446744073709551616"] {
        refused(check, "5\n", written, Errno::INVAL);
    }
    refused(Check::Unsigned(8192, u64::MAX), "0\n", "8191", Errno::INVAL);
    taken(Check::Unsigned(8192, u64::MAX), "0\n", "8192", "8192\n");
}

#[test]
fn vectors_are_changed_from_the_front() {
    let check = Check::Integers(4, INT.0, INT.1);
    let before = "4\t4\t1\t7\n";
    taken(check, before, "3 4 1 3", "3\t4\t1\t3\n");
    taken(check, before, "3\n", "3\t4\t1\t7\n");
    taken(check, before, "3\t5 ", "3\t5\t1\t7\n");
    taken(check, before, "1 2 3 4 x", "1\t2\t3\t4\n");
    refused(check, before, "x", Errno::INVAL);
    assert_eq!(write(check, before, b"1 2 x"), (Err(Errno::INVAL), "1\t2\t1\t7\n".to_owned()));
}

#[test]
fn the_rules_of_single_files() {
    let latch = Check::Latch(0, 3);
    taken(latch, "1\n", "2", "2\n");
    taken(latch, "1\n", "3", "3\n");
    taken(latch, "3\n", "3", "3\n");
    refused(latch, "3\n", "1", Errno::INVAL);
    refused(latch, "1\n", "4", Errno::INVAL);

    for (written, after) in
        [("0", "4096\n"), ("4097", "8192\n"), ("1048576", "1048576\n"), ("2147483648", "2147483648\n")]
    {
        taken(Check::PipeSize, "1048576\n", written, after);
    }
    refused(Check::PipeSize, "1048576\n", "2147483649", Errno::INVAL);
    refused(Check::PipeSize, "1048576\n", "-1", Errno::INVAL);

    for (written, after) in [("1", "512\n"), ("65536\n", "65536\n"), ("65537", "66048\n")] {
        taken(Check::Buckets, "262144\n", written, after);
        taken(Check::Hashsize, "262144\n", written, after);
    }
    for check in [Check::Buckets, Check::Hashsize] {
        refused(check, "262144\n", "0", Errno::INVAL);
        refused(check, "262144\n", "-1", Errno::INVAL);
        refused(check, "262144\n", "268435456", Errno::NOMEM);
    }
    refused(Check::Buckets, "262144\n", "4294967296", Errno::INVAL);
    refused(Check::Hashsize, "262144\n", "4294967296", Errno::RANGE);
    taken(Check::Buckets, "262144\n", " 512", "512\n");
    taken(Check::Hashsize, "262144\n", "+0x200\0x", "512\n");
    for written in [" 512", "512 ", "512\n\n", "", "+", "x"] {
        match written {
            "" => taken(Check::Hashsize, "262144\n", written, "262144\n"),
            _ => refused(Check::Hashsize, "262144\n", written, Errno::INVAL),
        }
    }
}

/// What Linux 6.18 does with these: the file is the first network namespace's alone to write, and a test is not in it.
#[test]
fn names_are_those_of_the_list_in_its_order() {
    let all = "reno bbr cubic\n";
    for (written, shown) in [
        ("bbr reno", "reno bbr\n"),
        ("bbr reno\n", "reno bbr\n"),
        ("bbr reno\0x", "reno bbr\n"),
        ("bbr reno\ncubic", "reno bbr\n"),
        ("bbr reno  nonsense", "reno bbr\n"),
        ("bbr reno \n", "reno bbr\n"),
        ("bbr reno bbr reno", "reno bbr\n"),
        ("\n", "\n"),
        (" bbr", "\n"),
    ] {
        assert_eq!(names(all, written.as_bytes()), Ok(shown.as_bytes().to_vec()), "{written:?}");
    }
    let long = "reno bbr ".to_owned() + &"reno ".repeat(1000);
    assert_eq!(names(all, long.as_bytes()), Err(Errno::NOENT), "its end cuts a name");
    for written in ["nonsense", "bbr reno nonsense", "bbr\treno", "bbr\r", "BBR", "bb"] {
        assert_eq!(names(all, written.as_bytes()), Err(Errno::NOENT), "{written:?}");
    }
}

/// The kernel's rule told in another way: words, each after white space that the number's end does not allow.
fn model(count: usize, low: i64, high: i64, before: &[i64], written: &str) -> (Result<(), Errno>, Vec<i64>) {
    let mut values = before.to_vec();
    let words = written.split([' ', '\t', '\n']).map(|word| word.trim_start_matches(['\u{b}', '\r']));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    for (value, word) in values.iter_mut().zip(&words).take(count) {
        let (sign, digits) = word.strip_prefix('-').map_or((1, *word), |digits| (-1, digits));
        let number = match digits {
            // from_str_radix() takes a sign of its own: `0-7` would be one.
            _ if word.len() > 20 || !digits.starts_with(|c: char| c.is_ascii_digit()) => None,
            _ if digits.contains(['-', '+']) => None,
            "0" => Some(0),
            _ if digits.starts_with("0x") => i128::from_str_radix(&digits[2..], 16).ok(),
            _ if digits.starts_with('0') => i128::from_str_radix(&digits[1..], 8).ok(),
            _ => digits.parse::<i128>().ok(),
        };
        match number.map(|number| number * sign).filter(|number| (low.into()..=high.into()).contains(number)) {
            Some(number) => *value = i64::try_from(number).expect("in range"),
            None => return (Err(Errno::INVAL), values),
        }
    }
    (if words.is_empty() { Err(Errno::INVAL) } else { Ok(()) }, values)
}

/// Writes that are close to right.
fn writes() -> impl Strategy<Value = String> {
    prop_oneof!["[ \t\n\u{b}\r0-9x-]{1,24}", "[ \t\n]?-?(0x|0)?[0-9a-f]{1,12}[ \n]?", "([1-9][0-9]{0,5}[ \t\n]){1,5}"]
}

proptest! {
    #[test]
    fn vectors_are_as_in_the_model(written in writes(), count in 1_usize..4, low in -300_i64..300, high in 0_i64..1 << 40) {
        let before = [7, 8, 9];
        let (outcome, values) = model(count, low, high, &before[..count], &written);
        let shown = |values: &[i64]| values.iter().map(i64::to_string).collect::<Vec<_>>().join("\t") + "\n";
        let after = write(Check::Integers(count, low, high), &shown(&before[..count]), written.as_bytes());
        prop_assert_eq!(after, (outcome, shown(&values)));
    }

    #[test]
    fn any_bytes_leave_a_value(written in prop::collection::vec(any::<u8>(), 0..64)) {
        for check in [Check::Integer(0, 9), Check::Unsigned(0, 9), Check::Latch(0, 9), Check::PipeSize, Check::Buckets, Check::Hashsize] {
            let (_, text) = write(check, "5\n", &written);
            let value: u64 = text.trim_end().parse().expect("a number");
            prop_assert!(text.ends_with('\n') && (value <= 9 || value.is_multiple_of(512)), "{:?} {}", check, text);
        }
    }
}

/// Files of the kernel's that namespaces keep apart, one of each kind, and values to put there first.
const NATIVE: [(&str, Check, &str); 7] = [
    ("/proc/sys/net/ipv4/tcp_adv_win_scale", Check::Integer(-31, 31), "1\n"),
    ("/proc/sys/net/unix/max_dgram_qlen", Check::Integer(INT.0, INT.1), "10\n"),
    ("/proc/sys/net/ipv4/tcp_rmem", Check::Integers(3, 1, INT.1), "4096\t131072\t6291456\n"),
    ("/proc/sys/net/ipv4/tcp_retries1", Check::Unsigned(0, 255), "3\n"),
    ("/proc/sys/kernel/msgmax", Check::Integer(0, INT.1), "8192\n"),
    ("/proc/sys/kernel/shmall", Check::Unsigned(0, u64::MAX), "4096\n"),
    ("/proc/sys/kernel/shmmax", Check::Unsigned(0, u64::MAX), "4096\n"),
];

/// Needs root.
#[test]
fn the_kernel_does_the_same() {
    let compared = std::thread::spawn(|| {
        // SAFETY: neither flag touches the file descriptors that other threads share.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWIPC) }.expect("namespaces (needs root)");
        let mut runner = TestRunner::deterministic();
        let mut all: Vec<Vec<u8>> =
            [" ", "\n", "1\0", "\u{b}7", "7\u{b}", "08", "0x", "-0", "1 2 x", "99999999999999999999"]
                .map(|text| text.as_bytes().to_vec())
                .into();
        all.extend([b"\xa07".to_vec(), [b" ".repeat(PAGE - 2), b"12".to_vec()].concat(), b"1 ".repeat(3000)]);
        let strategy = writes();
        all.extend((0..3000).map(|_| strategy.new_tree(&mut runner).expect("a value").current().into_bytes()));
        let native = NATIVE.iter().filter(|(path, ..)| Path::new(path).exists());
        native.map(|(path, check, first)| compare(path, *check, first, &all)).count()
    });
    assert!(compared.join().expect("compared") >= 5);
}

fn compare(path: &str, check: Check, first: &str, all: &[Vec<u8>]) {
    let file = File::options().write(true).open(path).expect(path);
    for written in all {
        file.write_all_at(first.as_bytes(), 0).expect(path);
        assert_eq!(read_to_string(path).expect(path), first);
        let outcome = rustix::io::pwrite(&file, written, 0).map(drop);
        let ours = write(check, first, written);
        let kernels = (outcome, read_to_string(path).expect(path));
        assert_eq!(ours, kernels, "{path} {}", written.escape_ascii());
    }
}
