//! Telling the engine that a container has run out of its memory.

use std::sync::Arc;

use super::Container;
use super::cgroup::oom::Oom;
use super::event::Event;

impl Container {
    /// Tells of it as it happens, until init is gone.
    pub(super) fn watch_oom(self: &Arc<Self>) {
        let notifier = self.oom.as_ref().map(|oom| oom.notifier().and_then(crate::sys::watch));
        let notifier = match notifier {
            None => return,
            Some(Ok(notifier)) => notifier,
            Some(Err(error)) => {
                return log::warn!(container = self.id.as_str(); "OOM will be told with the exit only: {error}");
            }
        };
        let container = self.clone();
        tokio::spawn(async move {
            let ended = container.init.wait();
            tokio::pin!(ended);
            loop {
                tokio::select! {
                    _ = &mut ended => return,
                    readable = notifier.readable() => match readable {
                        // First, so that what comes while we look makes it readable again.
                        Ok(mut ready) => ready.clear_ready(),
                        Err(_) => return,
                    },
                }
                container.tell_oom();
            }
        });
    }

    /// Tells of what has happened since the last look: also before an exit, which would otherwise be the first news.
    pub(super) fn tell_oom(&self) {
        if self.oom.as_ref().is_some_and(Oom::happened) {
            self.shared.events.emit(&self.id, Event::Oom);
        }
    }
}
