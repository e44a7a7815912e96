use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::*;

fn pair() -> (Channel, AsyncChannel) {
    let (theirs, ours) = Channel::pair().unwrap();
    (theirs, AsyncChannel::new(ours).unwrap())
}

/// Messages of two channels have no order: the later one may be heard first.
#[tokio::test]
async fn what_the_stage_has_said_before_init_was_ready_is_heard() {
    for _ in 0..100 {
        let ((said, control), (init_said, init)) = (pair(), pair());
        let pidfd = || pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let stage = Stage { pid: getpid(), pidfd: pidfd(), control };
        said.send(&Report::Cloned, &[pidfd().as_fd()]).unwrap();
        said.send(&Report::Terminal, &[pidfd().as_fd()]).unwrap();
        said.send(&Report::Note("weaker".to_owned()), &[]).unwrap();
        init_said.send(&Report::Ready, &[]).unwrap();
        let mut progress = Progress::default();
        progress.until_ready(&stage, &init, |_, _| Ok(()), async |_| Ok(())).await.unwrap();
        assert!(progress.terminal.is_some() && progress.notes == ["weaker"]);
    }
}
