//! Rows of the table: sysfs.
