//! `-info`: what containerd (2.0 and later) asks a shim before it uses it.

use std::io::Write;

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{Message, MessageField};
use containerd_shim_protos::types::introspection::{RuntimeInfo, RuntimeVersion};

use crate::cli::features;

/// The name by which containerd knows this runtime.
const NAME: &str = "io.containerd.eci.v2";

/// The type of the features document, as containerd's typeurl names it.
const FEATURES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// Writes the answer to standard output. `input` is standard input: the runtime's options, or nothing.
///
/// # Errors
/// One line, when the answer cannot be encoded or written.
pub(crate) fn run(input: &[u8], mut output: impl Write) -> Result<(), String> {
    let bytes = info(input).write_to_bytes().map_err(|error| format!("encode the runtime's info: {error}"))?;
    output.write_all(&bytes).and_then(|()| output.flush()).map_err(|error| format!("write the runtime's info: {error}"))
}

fn info(input: &[u8]) -> RuntimeInfo {
    let features = Any { type_url: FEATURES_TYPE.into(), value: features::json().into_bytes(), ..Default::default() };
    RuntimeInfo {
        name: NAME.into(),
        version: MessageField::some(RuntimeVersion { version: env!("CARGO_PKG_VERSION").into(), ..Default::default() }),
        // The options say nothing about what the runtime can do; they are handed back as containerd's own shim does.
        options: Any::parse_from_bytes(input).ok().filter(|any| !any.type_url.is_empty()).into(),
        features: MessageField::some(features),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cri_finds_what_it_needs_for_user_namespaces() {
        let mut output = Vec::new();
        run(&[], &mut output).unwrap();
        let info = RuntimeInfo::parse_from_bytes(&output).unwrap();
        assert_eq!((info.name.as_str(), info.features.type_url.as_str()), (NAME, FEATURES_TYPE));
        let features: serde_json::Value = serde_json::from_slice(&info.features.value).unwrap();
        let namespaces = features["linux"]["namespaces"].as_array().unwrap();
        assert!(namespaces.iter().any(|name| name == "user"));
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    }

    #[test]
    fn options_and_garbage_on_standard_input_are_taken() {
        let options = Any { type_url: "containerd.runc.v1.Options".into(), ..Default::default() };
        assert_eq!(info(&options.write_to_bytes().unwrap()).options.type_url, "containerd.runc.v1.Options");
        assert!(info(b"\xff\xff").options.is_none());
    }
}
