//! The layers of an overlay that the spec asks for: directories of the host, which the overlay shows and writes.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use userns::rootfs::{split_layers, unescape};

use super::Bench;
use crate::stage::message::Failure;
use crate::stage::mounts::Data;

/// The layers, and the options of the overlay that name them.
pub(in crate::stage) struct Layers {
    /// The overlay's options, in which the layers go by descriptors of this process.
    pub(in crate::stage) data: Vec<(String, Option<String>)>,
    /// What the spec calls its source.
    pub(in crate::stage) source: Option<String>,
    /// Held until it is mounted.
    _fds: Vec<OwnedFd>,
}

/// Opens the layers that `data` names (Documentation/filesystems/overlayfs.rst) and lets policy judge each.
pub(super) fn open(bench: &Bench<'_>, source: Option<String>, data: &Data) -> Result<Layers, Failure> {
    let mut fds = Vec::new();
    let mut one = |path: String| -> Result<String, Failure> {
        if path.is_empty() {
            // What `::` puts before a data-only layer.
            return Ok(path);
        }
        let (fd, _, covers) = bench.judged(Path::new(&path), false)?;
        if !covers.is_empty() {
            return Err(Failure::line(format!("{path}: is no layer: it holds what is restricted")));
        }
        let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
        fds.push(fd);
        Ok(name)
    };
    let mut named = Vec::with_capacity(data.len());
    for (key, value) in data {
        let value = match (key.as_str(), value) {
            ("lowerdir", Some(list)) => {
                Some(split_layers(list).into_iter().map(&mut one).collect::<Result<Vec<_>, _>>()?.join(":"))
            }
            ("lowerdir+" | "datadir+", Some(path)) => Some(one(path.clone())?),
            ("upperdir" | "workdir", Some(path)) => Some(one(unescape(path))?),
            (_, value) => value.clone(),
        };
        named.push((key.clone(), value));
    }
    Ok(Layers { data: named, source, _fds: fds })
}
