//! Other limits for a container that exists.

use policy::spec::{load_resources, plan_update};

use super::Container;
use super::error::Error;

impl Container {
    /// Changes the limits that `resources` gives (the spec's `linux.resources`, as JSON), and no others.
    ///
    /// # Errors
    /// FailedPrecondition when the container has stopped; a refusal that names the field. Nothing has changed then.
    pub(crate) async fn update(&self, resources: &[u8]) -> Result<(), Error> {
        let loaded = load_resources(resources)?;
        for note in loaded.notes() {
            log::warn!(container = self.id.as_str(); "{note}");
        }
        let wanted = plan_update(&loaded.value)?;
        if !wanted.devices.is_empty() {
            // The kubelet sends back the rules that the container was made with.
            log::debug!(container = self.id.as_str(); "linux.resources.devices: an update leaves device rules as they are");
        }
        let _alone = self.updating.lock().await;
        self.running("update")?;
        self.grounds.with_cgroup(move |cgroup| cgroup.update(&wanted)).await
    }
}
