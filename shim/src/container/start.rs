//! Start: the moment from which a container, or an exec, runs the user's program.

use super::error::Error;
use super::event::Event;
use super::{Container, PATIENCE, Target, hooks, lock};
use crate::failpoint;

impl Container {
    /// Starts the container, or an exec. Returns the pid when the user's program runs.
    ///
    /// # Errors
    /// NotFound, FailedPrecondition, or why the program cannot be run.
    pub(crate) async fn start(&self, exec: &str) -> Result<u32, Error> {
        match self.process(exec)? {
            Target::Init => self.start_init().await,
            Target::Exec(exec) => self.start_exec(&exec).await,
        }
    }

    async fn start_init(&self) -> Result<u32, Error> {
        self.init.begin_start()?;
        failpoint::hit("start-begun", &self.id);
        let waiting = lock(&self.waiting).take();
        let outcome = match waiting {
            Some(waiting) => {
                let serve = |listener| {
                    // Init waits for the word that its traps are served.
                    failpoint::hit("start-trapped", &self.id);
                    self.grounds.traps.serve(listener)
                };
                waiting.start(serve).await.map_err(Error::from)
            }
            None => Err(Error::Failed("the container's init is not waiting".to_owned())),
        };
        failpoint::hit("start-done", &self.id);
        match outcome {
            Ok(notes) => {
                for note in notes {
                    log::warn!(container = self.id.as_str(); "{note}");
                }
                let pid = self.init.pid();
                self.init.started(&self.shared.events, &self.id, Event::Started { pid });
                match hooks::poststart(&self.shared.launcher, &self.id, pid, &self.grounds.hooks).await {
                    Ok(()) => Ok(pid),
                    Err(error) => Err(self.stop_for(error).await),
                }
            }
            Err(error) => {
                self.init.start_failed();
                Err(self.stop_for(error).await)
            }
        }
    }

    /// Stops a container that cannot be started. Afterwards the engine may delete it.
    async fn stop_for(&self, error: Error) -> Error {
        // Where the start itself has failed it ends by itself; killing it only makes sure.
        let _ = self.init.kill(9);
        let _ = tokio::time::timeout(PATIENCE, self.init.wait()).await;
        error
    }
}
