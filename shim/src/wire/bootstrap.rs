//! What containerd says on the standard input of `start`, and the answer in the protocol in which it was asked.
//!
//! containerd 2.3 and later write a `BootstrapParams` message. Earlier ones write the runtime's options (`Any`) or
//! nothing. The two cannot be told apart by decoding alone, since the options decode as a `BootstrapParams` too: a
//! message counts as one only if it names the very container that the flags name. Whoever asks with it gets a
//! `BootstrapResult`; everyone else gets the bare address, which every containerd from 1.6 to 2.2 takes as "task
//! service v2 over ttrpc" (1.6 and 1.7 reject version 3, and nothing tells 1.7 from 2.2).

use std::io::Read;

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;

use super::flags::Flags;

/// More than any bootstrap message or options have; containerd's own limit for a message is 4 MiB.
const MAX_INPUT: u64 = 4 << 20;

/// How `start` was asked, and what the question adds to the flags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// By flags alone: containerd 1.6 to 2.2.
    ByFlags,
    /// By a bootstrap message: containerd 2.3 and later.
    ByMessage {
        /// Where events go.
        ttrpc_address: String,
        /// Where the socket is to be placed, if containerd says so.
        socket_dir: Option<String>,
        /// Whether containerd wants debug messages (a level of -4 or less).
        debug: bool,
    },
}

/// Reads standard input to its end.
///
/// # Errors
/// One line, when it cannot be read or is longer than 4 MiB.
pub(crate) fn read_input(input: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(|error| format!("read standard input: {error}"))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(format!("standard input is longer than {MAX_INPUT} bytes"));
    }
    Ok(bytes)
}

/// Decides by the bytes of standard input how `start` was asked.
pub(crate) fn decide(input: &[u8], flags: &Flags) -> Asked {
    match BootstrapParams::parse_from_bytes(input) {
        Ok(params) if !flags.id.is_empty() && params.instance_id == flags.id && params.namespace == flags.namespace => {
            Asked::ByMessage {
                debug: params.log_level.value() <= -4,
                ttrpc_address: params.containerd_ttrpc_address,
                socket_dir: params.socket_dir.filter(|dir| !dir.is_empty()),
            }
        }
        _ => Asked::ByFlags,
    }
}

/// The answer to `start`: what goes to standard output.
///
/// # Errors
/// One line, when the message cannot be encoded.
pub(crate) fn answer(asked: &Asked, address: &str) -> Result<Vec<u8>, String> {
    match asked {
        Asked::ByFlags => Ok(address.as_bytes().to_vec()),
        Asked::ByMessage { .. } => {
            let result = BootstrapResult {
                version: containerd_shim_protos::TASK_API_VERSION,
                address: address.to_owned(),
                protocol: "ttrpc".to_owned(),
                ..Default::default()
            };
            result.write_to_bytes().map_err(|error| format!("encode the bootstrap result: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::protobuf::well_known_types::any::Any;

    use super::*;

    fn flags() -> Flags {
        Flags { id: "c1".into(), namespace: "default".into(), ..Default::default() }
    }

    fn params(id: &str, namespace: &str) -> Vec<u8> {
        let params = BootstrapParams {
            instance_id: id.into(),
            namespace: namespace.into(),
            containerd_ttrpc_address: "/run/c.sock.ttrpc".into(),
            socket_dir: Some("/run/s".into()),
            ..Default::default()
        };
        params.write_to_bytes().unwrap()
    }

    #[test]
    fn only_a_message_about_this_very_container_counts() {
        let options = Any { type_url: "c1".into(), value: b"default".to_vec(), ..Default::default() };
        let other = Any { type_url: "containerd.runc.v1.Options".into(), ..Default::default() };
        for (input, by_message) in [
            (params("c1", "default"), true),
            (params("c2", "default"), false),
            (params("c1", "other"), false),
            (Vec::new(), false),
            (b"\xff\xff\xff".to_vec(), false),
            (other.write_to_bytes().unwrap(), false),
            // The one ambiguity that the protocol leaves: options whose type is named like the container.
            (options.write_to_bytes().unwrap(), true),
        ] {
            assert_eq!(matches!(decide(&input, &flags()), Asked::ByMessage { .. }), by_message, "{input:?}");
        }
        assert_eq!(decide(&[], &Flags::default()), Asked::ByFlags);
    }

    #[test]
    fn the_answer_speaks_the_protocol_of_the_question() {
        assert_eq!(answer(&Asked::ByFlags, "unix:///run/s/x").unwrap(), b"unix:///run/s/x");
        let asked = decide(&params("c1", "default"), &flags());
        let Asked::ByMessage { ttrpc_address, socket_dir, debug } = &asked else { panic!("by message") };
        assert_eq!(
            (ttrpc_address.as_str(), socket_dir.as_deref(), *debug),
            ("/run/c.sock.ttrpc", Some("/run/s"), false)
        );
        let result = BootstrapResult::parse_from_bytes(&answer(&asked, "unix:///run/s/x").unwrap()).unwrap();
        assert_eq!((result.version, result.protocol.as_str()), (3, "ttrpc"));
        assert_eq!(result.address, "unix:///run/s/x");
    }

    #[test]
    fn input_without_an_end_is_refused() {
        assert!(read_input(std::io::repeat(0)).unwrap_err().contains("longer than"));
        assert_eq!(read_input(&b"abc"[..]).unwrap(), b"abc");
    }
}
