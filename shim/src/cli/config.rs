//! `config [FILE]`: the config that holds, for a runtime that names FILE.

use std::ffi::OsString;

use crate::container::config::load;
use crate::container::options::Options;

/// The whole config as TOML.
///
/// # Errors
/// What is wrong with a file.
pub(super) fn run(mut rest: impl Iterator<Item = OsString>) -> Result<String, String> {
    let path = rest.next().map(|path| std::path::absolute(&path).unwrap_or(path.into()));
    let path = path.unwrap_or_default().to_string_lossy().into_owned();
    if rest.next().is_some() {
        return Err("config: takes one file at most".to_owned());
    }
    let options = Options { config_path: path, ..Options::default() };
    load(&options).map(|config| config.show()).map_err(|error| error.to_string())
}
