//! The operator's config, as it holds for one container: the host's file, then what the engine names for the runtime.
//!
//! Invariant: a file is believed only when it is root's and no one else can write it.

use std::fmt::Display;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use policy::Refusal;
use policy::config::{CONFIG_PATH, Config, Scope};

use super::error::Error;
use super::options::Options;

/// Larger than any config, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The config of a container of a runtime with these options.
///
/// # Errors
/// When a file cannot be read or is not understood. That the host's file does not exist is no error.
pub(crate) fn load(options: &Options) -> Result<Config, Error> {
    load_at(CONFIG_PATH, options)
}

fn load_at(host: &str, options: &Options) -> Result<Config, Error> {
    let mut config = Config::default();
    if let Some(text) = read(host)? {
        config.apply(&text, host, Scope::Host).map_err(wrong)?;
    }
    let path = options.config_path.as_str();
    if !path.is_empty() && path != host {
        let failed = |error: Error| Error::Failed(format!("runtime option ConfigPath: {error}"));
        if !Path::new(path).is_absolute() {
            return Err(failed(unreadable(path, "is not an absolute path")));
        }
        let text = read(path).map_err(failed)?;
        let text = text.ok_or_else(|| failed(unreadable(path, "there is no such file")))?;
        config.apply(&text, path, Scope::Runtime).map_err(wrong)?;
    }
    config.apply(&options.config_body, "ConfigBody", Scope::Runtime).map_err(wrong)?;
    Ok(config)
}

/// It is the operator's mistake, not the spec's.
fn wrong(refusal: Refusal) -> Error {
    Error::Failed(refusal.to_string())
}

fn unreadable(path: &str, reason: impl Display) -> Error {
    Error::Failed(format!("read {path}: {reason}"))
}

/// A file's text; none where there is no such file. A link that leads nowhere is a mistake: what the file forbids must not
/// be allowed for it.
fn read(path: &str) -> Result<Option<String>, Error> {
    let failed = |reason: &dyn Display| unreadable(path, reason);
    // Non-blocking: the path may name a fifo.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let link = rustix::fs::readlink(path, Vec::new()).is_ok();
            return if link { Err(failed(&"is a link that leads nowhere")) } else { Ok(None) };
        }
        Err(error) => return Err(failed(&error)),
    };
    let metadata = file.metadata().map_err(|error| failed(&error))?;
    if !metadata.is_file() {
        return Err(failed(&"is no file"));
    }
    if metadata.uid() != 0 || metadata.mode() & 0o022 != 0 {
        return Err(failed(&"must belong to root and be writable by nobody else"));
    }
    let mut text = String::new();
    let length = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|error| failed(&error))?;
    if length as u64 > MAX_BYTES {
        return Err(failed(&format!("is larger than {MAX_BYTES} bytes")));
    }
    Ok(Some(text))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "files of the tests' own")]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use policy::config::{Grants, Missing};

    use super::*;

    fn file(directory: &Path, name: &str, text: &str) -> String {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn with(path: &str, body: &str) -> Options {
        Options { config_path: path.to_owned(), config_body: body.to_owned(), ..Options::default() }
    }

    #[test]
    fn later_texts_come_over_earlier_ones() {
        let directory = tempfile::tempdir().unwrap();
        let host = file(directory.path(), "config.toml", "[container]\ngrants = \"system\"\nio_uring = true\n");
        let own =
            file(directory.path(), "own.toml", "[container]\nio_uring = false\n[namespaces]\nmissing = \"private\"");
        let config = load_at(&host, &with(&own, "[namespaces]\nmissing = \"refuse\"")).unwrap();
        assert_eq!((config.container.grants, config.container.io_uring), (Grants::System, false));
        assert_eq!(config.namespaces.missing, Missing::Refuse);
        // The host's own file may be named, too.
        assert_eq!(load_at(&host, &with(&host, "")).unwrap().container.grants, Grants::System);
    }

    #[test]
    fn no_file_is_the_default_unless_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let none = directory.path().join("none.toml").to_str().unwrap().to_owned();
        assert_eq!(load_at(&none, &Options::default()).unwrap(), Config::default());
        let other = format!("{none}.too");
        let error = load_at(&none, &with(&other, "")).unwrap_err().to_string();
        assert_eq!(error, format!("runtime option ConfigPath: read {other}: there is no such file"));
        let error = load_at(&none, &with("own.toml", "")).unwrap_err().to_string();
        assert!(error.ends_with("own.toml: is not an absolute path"), "{error}");
        let error = load_at(&none, &with("", "a = 1")).unwrap_err().to_string();
        assert!(error.starts_with("ConfigBody:1: a: there is no such key"), "{error}");
    }

    #[test]
    fn only_what_root_alone_writes_is_believed() {
        let directory = tempfile::tempdir().unwrap();
        let host = file(directory.path(), "config.toml", "");
        load_at(&host, &Options::default()).unwrap();
        fs::set_permissions(&host, Permissions::from_mode(0o666)).unwrap();
        let error = load_at(&host, &Options::default()).unwrap_err().to_string();
        assert!(error.ends_with("must belong to root and be writable by nobody else"), "{error}");
        let error = load_at(directory.path().to_str().unwrap(), &Options::default()).unwrap_err().to_string();
        assert!(error.ends_with("is no file"), "{error}");
        let error = load_at("/dev/null/none", &with(&host, "")).unwrap_err().to_string();
        assert_eq!(error, "read /dev/null/none: Not a directory (os error 20)");
    }

    #[test]
    fn a_link_is_followed_and_must_lead_somewhere() {
        let directory = tempfile::tempdir().unwrap();
        let host = file(directory.path(), "config.toml", "[container]\nio_uring = true\n");
        let link = directory.path().join("link").to_str().unwrap().to_owned();
        std::os::unix::fs::symlink(&host, &link).unwrap();
        assert!(load_at(&link, &Options::default()).unwrap().container.io_uring);
        fs::remove_file(&host).unwrap();
        let error = load_at(&link, &Options::default()).unwrap_err().to_string();
        assert_eq!(error, format!("read {link}: is a link that leads nowhere"));
        let error = load_at(&host, &with(&link, "")).unwrap_err().to_string();
        assert_eq!(error, format!("runtime option ConfigPath: read {link}: is a link that leads nowhere"));
    }
}
