//! systemd's manager over D-Bus: the few calls that a scope needs, and the wait for their jobs.
//!
//! The private socket comes first: it answers root without a message bus, which a small host may not have. Else it is the
//! system bus, as in runc. Whether a job is done is asked and not listened for: its object vanishes with it, and a question
//! has a time limit, which a signal that never comes has not.

use std::cell::RefCell;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zvariant::{OwnedObjectPath, OwnedValue, Type};

use super::Error;
use super::dbus::{self, Connection, Method};
use super::properties::Property;

/// What sd_booted(3) looks for.
const BOOTED: &str = "/run/systemd/system";

/// systemd's own socket, and that of the bus; the first is a peer and no bus.
const SOCKETS: [(&str, bool); 2] = [("/run/systemd/private", true), ("/run/dbus/system_bus_socket", false)];

/// How long a job may take.
const PATIENCE: Duration = Duration::from_secs(25);

const SERVICE: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PATH: &str = "/org/freedesktop/systemd1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The manager of this host.
pub(super) struct Manager(RefCell<Connection<UnixStream>>);

impl Manager {
    /// Connects to it.
    ///
    /// # Errors
    /// [`Error::NotBooted`] where process 1 is not systemd, or why it does not answer.
    pub(super) fn connect() -> Result<Self, Error> {
        let sockets: Vec<_> = SOCKETS.iter().filter(|(path, _)| Path::new(path).exists()).collect();
        if !Path::new(BOOTED).exists() || sockets.is_empty() {
            return Err(Error::NotBooted);
        }
        let mut first = None;
        for (path, peer) in sockets {
            match Connection::open(path, *peer) {
                Ok(connection) => return Ok(Self(RefCell::new(connection))),
                Err(error) => _ = first.get_or_insert(Error::of("connect to", path, error)),
            }
        }
        Err(first.unwrap_or(Error::NotBooted))
    }

    /// Its version, which is a number that may have others and words around it (`252.39-1~deb12u1`, `v245`).
    pub(super) fn version(&self) -> Result<u32, Error> {
        let version: OwnedValue = self
            .call(PATH, PROPERTIES, "Get", &(MANAGER, "Version"))
            .map_err(|error| Error::of("ask for the version of", "systemd", error))?;
        let text = String::try_from(version).unwrap_or_default();
        Ok(number(&text))
    }

    /// Makes a transient unit, and waits until it is there.
    pub(super) fn start(&self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        let others: [(&str, &[Property]); 0] = [];
        let start = || self.call(PATH, MANAGER, "StartTransientUnit", &(unit, "fail", properties, &others[..]));
        let job = match start() {
            // A unit that has failed and was not collected keeps its name until it is told to let go.
            Err(error) if is(&error, "UnitExists") && self.reset(unit) => start(),
            job => job,
        };
        let job = job.map_err(|error| match is(&error, "UnitExists") {
            true => Error::Exists(unit.to_owned()),
            false => Error::of("start", unit, error),
        })?;
        self.wait("start", unit, &job)?;
        match self.state(unit) {
            Ok(state) if state == "active" => Ok(()),
            Ok(state) => Err(Error::Step { step: "start", object: unit.to_owned(), reason: format!("it is {state}") }),
            Err(error) => Err(Error::of("start", unit, error)),
        }
    }

    /// Changes properties of a unit until the next boot.
    pub(super) fn set(&self, unit: &str, properties: &[Property]) -> Result<(), Error> {
        self.call(PATH, MANAGER, "SetUnitProperties", &(unit, true, properties))
            .map_err(|error| Error::of("change", unit, error))
    }

    /// Ends a unit. One that is not there is ended already.
    pub(super) fn stop(&self, unit: &str) -> Result<(), Error> {
        match self.call(PATH, MANAGER, "StopUnit", &(unit, "replace")) {
            Ok(job) => self.wait("stop", unit, &job)?,
            Err(error) if is(&error, "NoSuchUnit") => {}
            Err(error) => return Err(Error::of("stop", unit, error)),
        }
        self.reset(unit);
        Ok(())
    }

    /// Lets a failed unit go. False when there is none.
    fn reset(&self, unit: &str) -> bool {
        self.call::<_, ()>(PATH, MANAGER, "ResetFailedUnit", &(unit,)).is_ok()
    }

    fn state(&self, unit: &str) -> Result<String, dbus::Error> {
        let object: OwnedObjectPath = self.call(PATH, MANAGER, "GetUnit", &(unit,))?;
        let arguments = ("org.freedesktop.systemd1.Unit", "ActiveState");
        let state: OwnedValue = self.call(object.as_str(), PROPERTIES, "Get", &arguments)?;
        Ok(String::try_from(state)?)
    }

    /// Waits for the end of a job.
    fn wait(&self, step: &'static str, unit: &str, job: &OwnedObjectPath) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = Duration::from_millis(1);
        let arguments = ("org.freedesktop.systemd1.Job", "State");
        loop {
            match self.call::<_, OwnedValue>(job.as_str(), PROPERTIES, "Get", &arguments) {
                Ok(_) => {}
                Err(dbus::Error::Answer { .. }) => return Ok(()),
                Err(error) => return Err(Error::of(step, unit, error)),
            }
            if Instant::now() >= deadline {
                let reason = format!("its job is not done after {} s", PATIENCE.as_secs());
                return Err(Error::Step { step, object: unit.to_owned(), reason });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    fn call<B, R>(&self, path: &str, interface: &str, member: &str, body: &B) -> Result<R, dbus::Error>
    where
        B: Serialize + Type,
        R: DeserializeOwned + Type,
    {
        // A peer has no names, and takes a message to any.
        self.0.borrow_mut().call(Method { destination: SERVICE, path, interface, member }, body)
    }
}

/// Whether an error is systemd's of this name.
fn is(error: &dbus::Error, wanted: &str) -> bool {
    matches!(error, dbus::Error::Answer { name, .. } if name.strip_prefix("org.freedesktop.systemd1.") == Some(wanted))
}

fn number(version: &str) -> u32 {
    let digits = version.trim_start_matches(|c: char| !c.is_ascii_digit());
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_its_first_number() {
        for (text, expected) in [("252.39-1~deb12u1", 252), ("v245", 245), ("systemd 219", 219), ("", 0), ("x", 0)] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
