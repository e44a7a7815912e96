//! Rows of the table: sysfs.

use super::Node;

/// See the module.
pub(super) const NODES: &[Node] = &[];
