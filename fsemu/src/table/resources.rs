//! Rows of the table: resources.
