//! What the kernel makes of a write to a sysctl: the same values taken, the same errors, the same text shown afterwards.
//!
//! Pure, but that lists of names that there are to choose from are read from the host. The functions' names are those of
//! kernel/sysctl.c; tests compare with the kernel's own on files that a network namespace keeps apart.
//!
//! Invariant: whatever is written, a value stays one that the kernel could show.

use rustix::io::Errno;

use crate::table::Check;

/// What the kernel reads of one write: a page but for its last byte. Pages of other sizes are not told apart.
const PAGE: usize = 4096;
/// What proc_get_long() looks at of a number; one that fills it may be longer, and is refused.
const NUMBER: usize = 21;
/// The entries of a page of hash buckets, and the most that nf_ct_alloc_hashtable() gives, on 64 bits.
const BUCKETS: (u64, u64) = (PAGE as u64 / 8, i32::MAX as u64 / 8);

/// TCP_CA_BUF_MAX of include/net/tcp.h, less the zero byte at the end.
const NAMES: usize = 128 * 16 - 1;

/// A number as written: whether it has a minus sign, and what follows it.
type Number = (bool, u64);

impl Check {
    /// Applies a write(2) of `written` at the file's start to `text`, what the file shows: integers with tabs between and a
    /// newline. An empty write changes nothing.
    ///
    /// # Errors
    /// The kernel's. As with the kernel, the first values of a vector may have changed nevertheless.
    pub(crate) fn write(self, text: &mut Vec<u8>, written: &[u8]) -> Result<(), Errno> {
        if written.is_empty() {
            return Ok(());
        }
        let mut values = shown(text);
        let outcome = match self {
            Self::Names(list) => {
                let all = std::fs::read_to_string(list);
                *text = names(&all.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?, written)?;
                return Ok(());
            }
            Self::Integer(low, high) => vector(&mut values, 1, written, |number| signed(number, low, high)),
            Self::Integers(count, low, high) => vector(&mut values, count, written, |number| signed(number, low, high)),
            Self::Latch(low, high) => {
                let low = if values.first() == Some(&i128::from(high)) { high } else { low };
                vector(&mut values, 1, written, |number| signed(number, low, high))
            }
            Self::Unsigned(low, high) => vector(&mut values, 1, written, |number| unsigned(number, low, high)),
            Self::PipeSize => vector(&mut values, 1, written, |number| {
                let bytes = unsigned(number, 0, 1 << 31)?;
                Ok(bytes.max(PAGE as u64 as i128).cast_unsigned().next_power_of_two().cast_signed())
            }),
            Self::Buckets => vector(&mut values, 1, written, |number| buckets(signed(number, 0, i64::from(i32::MAX))?)),
            Self::Hashsize => kstrtouint(written).and_then(|size| buckets(size.into())).map(|size| values = vec![size]),
        };
        *text = show(&values);
        outcome
    }
}

/// The integers of a file's text.
fn shown(text: &[u8]) -> Vec<i128> {
    let words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.map(|word| std::str::from_utf8(word).ok().and_then(|word| word.parse().ok()).unwrap_or(0)).collect()
}

fn show(values: &[i128]) -> Vec<u8> {
    let words: Vec<String> = values.iter().map(i128::to_string).collect();
    format!("{}\n", words.join("\t")).into_bytes()
}

/// do_proc_dointvec() and its siblings: reads as many values as there are, and stores each as it is read.
fn vector(
    values: &mut Vec<i128>,
    count: usize,
    written: &[u8],
    convert: impl Fn(Number) -> Result<i128, Errno>,
) -> Result<(), Errno> {
    values.resize(count, 0);
    let mut left = &written[..written.len().min(PAGE - 1)];
    for (index, value) in values.iter_mut().enumerate() {
        left = skip_spaces(left);
        if left.is_empty() {
            return if index == 0 { Err(Errno::INVAL) } else { Ok(()) };
        }
        *value = convert(get_long(&mut left)?)?;
    }
    Ok(())
}

/// proc_skip_spaces(): isspace() of lib/ctype.c, for which a no-break space of Latin 1 is one too.
fn skip_spaces(text: &[u8]) -> &[u8] {
    let space = |byte: &u8| matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0);
    &text[text.iter().take_while(|byte| space(byte)).count()..]
}

/// proc_get_long() with blanks, tabs and newlines after the number.
fn get_long(left: &mut &[u8]) -> Result<Number, Errno> {
    let seen = &left[..left.len().min(NUMBER)];
    let (minus, digits) = match seen {
        [b'-', digits @ ..] if left.len() > 1 => (true, digits),
        digits => (false, digits),
    };
    if !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(Errno::INVAL);
    }
    let (value, length) = parse_integer(digits);
    let length = length + usize::from(minus);
    let value = value.filter(|_| length < NUMBER).ok_or(Errno::INVAL)?;
    let rest = &left[length..];
    if !matches!(rest.first(), None | Some(b' ' | b'\t' | b'\n')) {
        return Err(Errno::INVAL);
    }
    *left = rest;
    Ok((minus, value))
}

/// _parse_integer_fixup_radix() and _parse_integer() of lib/kstrtox.c: the value, none beyond 64 bits, and its length.
fn parse_integer(text: &[u8]) -> (Option<u64>, usize) {
    let (radix, prefix) = match text {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, 2),
        [b'0', ..] => (8, 0),
        _ => (10, 0),
    };
    let digits = text[prefix..].iter().map_while(|byte| char::from(*byte).to_digit(radix));
    let (value, length) = digits.fold((Some(0_u64), 0), |(value, length), digit| {
        (value.and_then(|value| value.checked_mul(radix.into())?.checked_add(digit.into())), length + 1)
    });
    (value, prefix + length)
}

fn signed((minus, magnitude): Number, low: i64, high: i64) -> Result<i128, Errno> {
    let value = if minus { -i128::from(magnitude) } else { magnitude.into() };
    if (i128::from(low)..=high.into()).contains(&value) { Ok(value) } else { Err(Errno::INVAL) }
}

fn unsigned((minus, value): Number, low: u64, high: u64) -> Result<i128, Errno> {
    if !minus && (low..=high).contains(&value) { Ok(value.into()) } else { Err(Errno::INVAL) }
}

/// proc_dostring() of a write at the file's start, then tcp_set_allowed_congestion_control().
fn names(all: &str, written: &[u8]) -> Result<Vec<u8>, Errno> {
    let end = written.iter().position(|byte| matches!(byte, 0 | b'\n')).unwrap_or(written.len());
    let written = written.get(..end.min(NAMES)).unwrap_or_default();
    let wanted: Vec<_> = written.split(|byte| *byte == b' ').take_while(|name| !name.is_empty()).collect();
    let all: Vec<_> = all.split_ascii_whitespace().collect();
    if !wanted.iter().all(|name| all.iter().any(|it| it.as_bytes() == *name)) {
        return Err(Errno::NOENT);
    }
    let shown: Vec<_> = all.into_iter().filter(|name| wanted.contains(&name.as_bytes())).collect();
    Ok(format!("{}\n", shown.join(" ")).into_bytes())
}

/// nf_conntrack_hash_resize().
fn buckets(size: i128) -> Result<i128, Errno> {
    let size = u64::try_from(size).ok().filter(|size| *size != 0).ok_or(Errno::INVAL)?;
    let (page, most) = BUCKETS;
    let full = size.next_multiple_of(page);
    if full > most { Err(Errno::NOMEM) } else { Ok(full.into()) }
}

/// kstrtouint() with base 0, of a string that ends at its first NUL.
fn kstrtouint(text: &[u8]) -> Result<u32, Errno> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let (value, length) = parse_integer(text);
    if length == 0 {
        return Err(Errno::INVAL);
    }
    let value = value.ok_or(Errno::RANGE)?;
    match &text[length..] {
        b"" | b"\n" => u32::try_from(value).map_err(|_| Errno::RANGE),
        _ => Err(Errno::INVAL),
    }
}

#[cfg(test)]
mod tests;
