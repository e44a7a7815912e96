//! The containers of one shim: one, or all of a pod.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Container;
use super::create::{self, Request};
use super::error::Error;
use super::event::Events;
use super::namespaces::Identity;
use crate::stage::launch::Launcher;

/// The containers of one shim. No lock is held while one is made or deleted: they do not wait for each other.
pub(crate) struct Pod {
    shared: Arc<Shared>,
    containers: Mutex<HashMap<String, Slot>>,
}

/// What all containers of a shim use.
pub(crate) struct Shared {
    /// containerd's namespace.
    pub(crate) namespace: String,
    /// The id of the container or pod that the shim was started for.
    pub(crate) group: String,
    /// containerd's sockets, as far as the shim was told.
    pub(crate) sockets: Vec<PathBuf>,
    /// Runs stages.
    pub(crate) launcher: Launcher,
    /// Takes events.
    pub(crate) events: Events,
}

/// A container's place.
enum Slot {
    /// It is being made.
    Reserved,
    /// It is there.
    Taken(Arc<Container>),
}

impl Pod {
    /// A pod without containers.
    pub(crate) fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), containers: Mutex::default() }
    }

    /// Makes a container, up to the point where its init waits for Start.
    ///
    /// # Errors
    /// AlreadyExists; a refusal of its spec; the step that failed. Nothing of it is left behind then.
    pub(crate) async fn create(&self, request: Request) -> Result<Arc<Container>, Error> {
        let id = request.id.clone();
        match self.containers().entry(id.clone()) {
            Entry::Vacant(place) => place.insert(Slot::Reserved),
            Entry::Occupied(_) => return Err(Error::AlreadyExists(format!("container {id} already exists"))),
        };
        let made = create::create(request, &self.shared, self.networks()).await;
        let mut containers = self.containers();
        match made {
            Ok((container, created)) => {
                self.shared.events.emit(&id, created);
                container.clone().watch();
                containers.insert(id, Slot::Taken(container.clone()));
                Ok(container)
            }
            Err(error) => {
                containers.remove(&id);
                Err(error)
            }
        }
    }

    /// The network namespaces of the containers that the host owns: their pod's.
    fn networks(&self) -> Vec<Identity> {
        let network = |slot: &Slot| match slot {
            Slot::Taken(container) => container.network(),
            Slot::Reserved => None,
        };
        self.containers().values().filter_map(network).collect()
    }

    /// The container of an id.
    ///
    /// # Errors
    /// NotFound, also while it is being made.
    pub(crate) fn get(&self, id: &str) -> Result<Arc<Container>, Error> {
        match self.containers().get(id) {
            Some(Slot::Taken(container)) => Ok(container.clone()),
            _ => Err(Error::NotFound("container not created".to_owned())),
        }
    }

    /// Forgets a container that [`Container::delete`] has cleaned up.
    pub(crate) fn forget(&self, id: &str) {
        self.containers().remove(id);
    }

    /// Whether there is no container, nor one that is being made.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers().is_empty()
    }

    /// Which containers there are, for the log.
    pub(crate) fn describe(&self) -> String {
        let mut ids: Vec<String> = self.containers().keys().cloned().collect();
        ids.sort_unstable();
        if ids.is_empty() { "no containers".to_owned() } else { format!("the containers {}", ids.join(", ")) }
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
