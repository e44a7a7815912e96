//! Lists of CPUs and memory nodes, as cpuset(7) writes them: `0-3,7`.

use super::paths::quoted;

/// Above any kernel's `NR_CPUS`.
const MOST: u32 = 65_535;

/// Holds a list against its syntax.
///
/// # Errors
/// The reason, with the list.
pub(crate) fn check(list: &str) -> Result<(), String> {
    let range = |range: &str| match range.split_once('-') {
        Some((first, last)) => matches!((number(first), number(last)), (Some(first), Some(last)) if first <= last),
        None => number(range).is_some(),
    };
    if list.len() <= 4095 && list.split(',').all(range) {
        Ok(())
    } else {
        Err(format!("{} is not a list of numbers and ranges like 0-3,7", quoted(list)))
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten().filter(|number| *number <= MOST)
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn lists_have_one_syntax() {
        for list in ["0", "0-3", "0-3,7", "5,1,2-2"] {
            assert_eq!(check(list), Ok(()), "{list}");
        }
        for list in ["", ",", "0,", "3-0", "-1", "0-", "0--1", "a", "0 1", " 0", "65536", "0\n"] {
            assert!(check(list).is_err(), "{list:?}");
        }
        assert_eq!(check("3-0"), Err("\"3-0\" is not a list of numbers and ranges like 0-3,7".to_owned()));
    }
}
