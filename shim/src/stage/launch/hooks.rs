//! Hooks of the host's namespaces: each batch is a stage's.

use super::super::HOOKS;
use super::super::hooks::{HookOrder, Status, state};
use super::super::message::{BuildOrder, Failure, Report};
use super::{LaunchError, Launcher, Stage, channel, reap};

impl Launcher {
    /// The hooks of the host's namespaces that are due while the build stage waits with the tree at `root.path`.
    pub(super) async fn before_pivot(&self, order: &BuildOrder, pid: i32) -> Result<(), LaunchError> {
        let hooks = &order.plan.hooks;
        let state = state(&order.id, Status::Creating, Some(pid), &hooks.bundle, &hooks.annotations);
        self.run_hooks(&HookOrder {
            hooks: hooks.prestart.iter().chain(&hooks.create_runtime).cloned().collect(),
            state: state.map_err(|line| LaunchError::Failed(Failure::line(line)))?,
            directory: hooks.bundle.clone(),
        })
        .await
    }

    /// Runs hooks in the host's namespaces, up to the first that fails. Dropped before its end, what runs is killed.
    pub(crate) async fn run_hooks(&self, order: &HookOrder) -> Result<(), LaunchError> {
        let Stage { pidfd, control, .. } = self.spawn(HOOKS)?;
        tokio::spawn(reap(pidfd));
        control.send_order(order, &[]).map_err(channel("hand a stage its order"))?;
        match control.receive().await.map_err(channel("listen to the hooks' stage"))? {
            Some((Report::Ready, _)) => Ok(()),
            Some((Report::Failed(failure), _)) => Err(LaunchError::Failed(failure)),
            _ => Err(LaunchError::Died("the hooks' stage")),
        }
    }
}
