//! Keeping the engine's own mount of the root filesystem and the container's in agreement ([`userns::views`]): when the engine
//! has used its mount, and again before each exec, which must see what `docker cp` has brought.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use policy::plan::Plan;
use tokio::io::unix::AsyncFd;
use userns::views::{Settled, Views};

use super::create::Request;
use super::error::Error;
use super::grounds::{Grounds, blocking_pair};
use super::{Container, lock};

/// How long after a use of the engine's the views are brought together once more.
const PAUSE: Duration = Duration::from_millis(20);

/// How long an exec waits for the end of such a use. One that lasts longer is not what it comes after.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it looks.
const STEP: Duration = Duration::from_millis(1);

/// The views of a container that is to be made; none where the engine has not mounted its root filesystem itself.
pub(super) fn of(request: &Request, plan: &Plan) -> Result<Option<Views>, Error> {
    if !request.rootfs.is_empty() {
        return Ok(None);
    }
    let views = Views::of(&plan.root.path).map_err(|error| Error::Failed(error.to_string()))?;
    Ok(views.map(|(views, note)| {
        if let Some(note) = note {
            log::warn!(container = request.id.as_str(); "docker cp is seen inside with the next exec only: {note}");
        }
        views
    }))
}

impl Grounds {
    /// Takes the container's own root mount.
    pub(super) fn hold_root(&self, root: Option<OwnedFd>) {
        let held = match (lock(&self.views).as_ref(), root) {
            (Some(views), Some(root)) => views.hold(root),
            _ => Ok(()),
        };
        if let Err(error) = held {
            self.complain(&error);
        }
    }

    fn complain(&self, error: &dyn std::fmt::Display) {
        log::warn!(container = self.names.container.as_str(); "what docker cp brings may not be seen inside: {error}");
    }
}

impl Container {
    /// Brings the views together whenever the engine has used its mount, until init is gone.
    pub(super) fn watch_views(self: &Arc<Self>) {
        let Some(views) = lock(&self.grounds.views).clone() else { return };
        let notifier = match views.notifier().map(|notifier| notifier.map(crate::sys::watch)) {
            Ok(None) => return,
            Ok(Some(Ok(notifier))) => notifier,
            Ok(Some(Err(error))) => return self.grounds.complain(&error),
            Err(error) => return self.grounds.complain(&error),
        };
        drop(views);
        let container = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = container.init.wait() => {}
                () = container.attend(&notifier) => {}
            }
            // Nobody is to wait for an answer that does not come: the engine would never get to deleting the container.
            container.settle().await;
            lock(&container.grounds.views).take();
        });
    }

    /// Settles after each use, and lets who begins one go on. Returns when there is nothing to listen to any more.
    async fn attend(&self, notifier: &AsyncFd<OwnedFd>) {
        while let Ok(mut ready) = notifier.readable().await {
            ready.clear_ready();
            while self.settle().await != Settled::Quiet {
                let _elapsed = tokio::time::timeout(PAUSE, self.admit_all(notifier)).await;
            }
        }
    }

    async fn admit_all(&self, notifier: &AsyncFd<OwnedFd>) {
        while let Ok(mut ready) = notifier.readable().await {
            ready.clear_ready();
            self.with_views(Views::admit).await;
        }
    }

    /// Brings the views together if the engine has used its mount. What cannot be done is logged.
    pub(super) async fn settle_views(&self) {
        let until = tokio::time::Instant::now() + PATIENCE;
        while lock(&self.grounds.views).as_ref().is_some_and(|views| views.is_due())
            && self.settle().await != Settled::Quiet
            && tokio::time::Instant::now() < until
        {
            tokio::time::sleep(STEP).await;
        }
    }

    async fn settle(&self) -> Settled {
        self.with_views(Views::settle).await.unwrap_or(Settled::Quiet)
    }

    async fn with_views<T: Send + 'static>(&self, act: fn(&Views) -> userns::Result<T>) -> Option<T> {
        let views = lock(&self.grounds.views).clone()?;
        match blocking_pair(move || act(&views)).await {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => self.grounds.complain(&error),
            Err(error) => self.grounds.complain(&error),
        }
        None
    }
}
