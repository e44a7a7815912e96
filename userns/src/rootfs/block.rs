//! Root filesystems and layers that are filesystems of their own: on a block device, or in an image file.

use super::options::Options;
use crate::mount::{Context, Detached};
use crate::{Error, Result, sys};

/// The filesystems that containerd's snapshotters mount and that can be id-mapped.
const SUPPORTED: [&str; 6] = ["erofs", "ext4", "xfs", "btrfs", "squashfs", "zfs"];

/// Whether a mount of this type is a filesystem of its own.
pub(super) fn is_supported(fstype: &str) -> bool {
    SUPPORTED.contains(&fstype)
}

/// Mounts `source`. With `loop` an image file is mounted through a loop device, which goes with the mount; erofs reads
/// image files by itself where the kernel can (Linux 6.12), which saves the device.
pub(super) fn mount(fstype: &str, source: &str, options: &Options) -> Result<Detached> {
    if !options.loop_device {
        return configure(fstype, source, options);
    }
    if fstype == "erofs"
        && let Ok(detached) = configure(fstype, source, options)
    {
        return Ok(detached);
    }
    let device = LoopDevice::attach(source, options.read_only || fstype == "erofs" || fstype == "squashfs")?;
    configure(fstype, &device.path, options)
}

fn configure(fstype: &str, source: &str, options: &Options) -> Result<Detached> {
    let context = Context::open(fstype)?;
    let name = |error| match error {
        Error::Failed { step: step @ "mount", object, source: cause, note } => {
            Error::with_note(step, format!("{source} as {object}"), cause, note)
        }
        error => error,
    };
    context.set_string("source", source)?;
    if options.read_only {
        context.set_flag("ro")?;
    }
    for (key, value) in &options.data {
        match value {
            Some(value) => context.set_string(key, value)?,
            None => context.set_flag(key)?,
        }
    }
    context.create(0).map_err(name)
}

/// A loop device (loop(4)) that the kernel frees when its last user has gone.
struct LoopDevice {
    path: String,
    /// Keeps it until it is mounted.
    _device: std::fs::File,
}

impl LoopDevice {
    /// How often a free device may be taken by somebody else before it is ours.
    const TRIES: usize = 64;

    fn attach(image: &str, read_only: bool) -> Result<Self> {
        let open = |path: &str| std::fs::File::options().read(true).write(!read_only).open(path);
        let backing = open(image).map_err(|error| Error::failed("open", image, error))?;
        let control = std::fs::File::options()
            .read(true)
            .write(true)
            .open("/dev/loop-control")
            .map_err(|error| Error::failed("open", "/dev/loop-control", error))?;
        for _ in 0..Self::TRIES {
            let number =
                sys::loop_get_free(&control).map_err(|errno| Error::failed("get a loop device for", image, errno))?;
            let path = format!("/dev/loop{number}");
            let device = open(&path).map_err(|error| Error::failed("open", &path, error))?;
            match sys::loop_configure(&device, &backing, read_only) {
                Ok(()) => return Ok(Self { path, _device: device }),
                Err(rustix::io::Errno::BUSY) => {}
                Err(errno) => return Err(Error::failed("attach a loop device to", image, errno)),
            }
        }
        Err(Error::failed("get a loop device for", image, rustix::io::Errno::BUSY))
    }
}
