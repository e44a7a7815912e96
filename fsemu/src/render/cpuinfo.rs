//! `/proc/cpuinfo`: the host's, of the processors that the container has.

use std::io;

use super::cpus;
use crate::Emulation;

/// See the module.
pub(crate) fn cpuinfo(emulation: &Emulation) -> io::Result<Vec<u8>> {
    Ok(render(&super::host("/proc/cpuinfo")?, &cpus::shown(emulation)?).into_bytes())
}

/// A processor is a paragraph that starts with its number. Others are the machine's (`Hardware` of arm).
fn render(host: &str, shown: &[u32]) -> String {
    let mut text = String::with_capacity(host.len());
    let shows = |paragraph: &&str| number(paragraph).is_none_or(|number| shown.contains(&number));
    for paragraph in host.split_inclusive("\n\n").filter(shows) {
        text.push_str(paragraph);
    }
    text
}

fn number(paragraph: &str) -> Option<u32> {
    let (key, value) = paragraph.lines().next()?.split_once(':')?;
    if key.trim() == "processor" { value.trim().parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const X86: &str = "processor\t: 0\nvendor_id\t: A\npower management:\n\n\
                       processor\t: 1\nvendor_id\t: A\npower management:\n\n\
                       processor\t: 12\nvendor_id\t: A\npower management:\n\n";

    #[test]
    fn only_the_processors_that_show_are_there() {
        let one = "processor\t: 1\nvendor_id\t: A\npower management:\n\n";
        assert_eq!(render(X86, &[1]), one);
        assert_eq!(render(X86, &[0, 1, 12]), X86);
        assert_eq!(render(X86, &[2]), "");
    }

    #[test]
    fn what_is_no_processor_stays() {
        let arm = "processor\t: 0\nBogoMIPS\t: 50.00\n\nprocessor\t: 1\nBogoMIPS\t: 50.00\n\nHardware\t: X\n";
        assert_eq!(render(arm, &[0]), "processor\t: 0\nBogoMIPS\t: 50.00\n\nHardware\t: X\n");
    }
}
