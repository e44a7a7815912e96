//! Rows of the table: sysctl.
