//! Rows of the table: sysctl.

use super::Node;

/// See the module.
pub(super) const NODES: &[Node] = &[];
