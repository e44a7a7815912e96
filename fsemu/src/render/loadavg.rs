//! `/proc/loadavg`: of the container's own tasks.

use std::io;

use super::tasks::{Sample, Tasks};
use super::uptime;
use crate::Emulation;

/// See the module.
pub(crate) fn loadavg(emulation: &Emulation) -> io::Result<Vec<u8>> {
    Ok(render(&Tasks::sample(emulation, uptime::up(emulation)?)).into_bytes())
}

/// The one that reads runs, which the kernel counts too.
fn render(sample: &Sample) -> String {
    let [one, five, fifteen] = sample.load;
    let (running, total) = (sample.running.max(1), sample.total.max(1));
    format!("{one:.2} {five:.2} {fifteen:.2} {running}/{total} {}\n", sample.last_pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_kernels() {
        let sample = Sample { running: 3, blocked: 1, total: 112, last_pid: 77, load: [0.456, 0.7, 12.0] };
        assert_eq!(render(&sample), "0.46 0.70 12.00 3/112 77\n");
        assert_eq!(render(&Sample::default()), "0.00 0.00 0.00 1/1 0\n");
    }
}
