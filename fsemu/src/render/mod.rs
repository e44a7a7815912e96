//! Files of which the value is made at each reading, from the container's cgroup and the host's own file.

use std::io;

use crate::Emulation;

/// Makes the text of a file.
pub type Render = fn(&Emulation) -> io::Result<Vec<u8>>;

/// Says whether an entry of a mirrored directory shows.
pub type Shows = fn(&Emulation, &str) -> bool;
