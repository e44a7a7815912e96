//! The FUSE filesystem of one container.
