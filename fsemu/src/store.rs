//! Where written values are kept.
