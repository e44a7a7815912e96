//! `tests` proves: end-to-end tests over the built shim and real engines.
#![deny(unsafe_code)]
