//! The runtime's options, in every form in which engines send them.
//!
//! * nothing: Docker, `ctr` and nerdctl without options;
//! * `runtimeoptions.v1.Options`: what CRI and dockerd send for a runtime that is not runc's;
//! * `containerd.runc.v1.Options`: what CRI sends where `runtime_type` is runc's and `runtime_path` is ours;
//! * `containerd.linux.runc.CreateOptions`: what containerd's Go client up to 1.7 sends to say who owns the stdio (`ctr
//!   run --uidmap`).
//!
//! A field is honoured, refused by its name, or (where it speaks of the runc binary, which we do not use) logged.

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::protobuf::{CodedInputStream, Message};
use containerd_shim_protos::shim::oci::Options as RuncOptions;

use crate::container::options::Options;

/// Options and what of them was passed over, for the log.
pub(crate) type Decoded = (Options, Vec<String>);

/// `runtimeoptions.v1.Options` of containerd's API; containerd-shim-protos does not have it.
#[derive(Debug, Default, PartialEq, Eq)]
struct RuntimeOptions {
    /// Field 1: the type of `config_body`, or of what `config_path` names.
    type_url: String,
    /// Field 2: a file with the runtime's configuration.
    config_path: String,
    /// Field 3: the configuration itself; CRI hands over its table as TOML.
    config_body: Vec<u8>,
}

/// Reads the options of a request.
///
/// # Errors
/// One line, when the options are of an unknown type, cannot be decoded, or ask for what is not implemented.
pub(crate) fn decode(options: Option<&Any>) -> Result<Decoded, String> {
    let Some(any) = options.filter(|any| !any.type_url.is_empty() || !any.value.is_empty()) else {
        return Ok((Options::default(), Vec::new()));
    };
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    let undecodable = |error| format!("runtime options of type {name} cannot be decoded: {error}");
    match name.strip_prefix("io.").unwrap_or(name) {
        "runtimeoptions.v1.Options" | "containerd.runtimeoptions.v1.Options" => {
            of_runtime(RuntimeOptions::parse(&any.value).map_err(undecodable)?)
        }
        "containerd.linux.runc.CreateOptions" => of_runc(create_options(&any.value).map_err(undecodable)?),
        "containerd.runc.v1.Options" => of_runc(RuncOptions::parse_from_bytes(&any.value).map_err(undecodable)?),
        _ => Err(format!("runtime options of type {name} are not known to this runtime")),
    }
}

fn of_runtime(options: RuntimeOptions) -> Result<Decoded, String> {
    let body = String::from_utf8(options.config_body);
    let config_body = body.map_err(|_| "runtime option ConfigBody is not UTF-8".to_owned())?;
    Ok((Options { config_path: options.config_path, config_body, ..Options::default() }, Vec::new()))
}

fn of_runc(options: RuncOptions) -> Result<Decoded, String> {
    for (asked, name) in [
        (options.no_pivot_root, "NoPivotRoot"),
        (!options.criu_image_path.is_empty(), "CriuImagePath"),
        (!options.criu_work_path.is_empty(), "CriuWorkPath"),
    ] {
        if asked {
            return Err(format!("runtime option {name} is not implemented yet"));
        }
    }
    let mut passed_over = Vec::new();
    for (value, name) in
        [(&options.binary_name, "BinaryName"), (&options.root, "Root"), (&options.task_api_address, "TaskApiAddress")]
    {
        if !value.is_empty() {
            passed_over.push(format!("runtime option {name} ({value}) is passed over: no runc is used"));
        }
    }
    let honoured = Options {
        no_new_keyring: options.no_new_keyring,
        systemd_cgroup: options.systemd_cgroup,
        shim_cgroup: options.shim_cgroup,
        stdio_owner: (options.io_uid != 0 || options.io_gid != 0).then_some((options.io_uid, options.io_gid)),
        ..Options::default()
    };
    Ok((honoured, passed_over))
}

/// `CreateOptions` of containerd's runctypes (1.x), which containerd-shim-protos does not have: those of its fields that
/// the later message has, too, under other numbers.
fn create_options(bytes: &[u8]) -> Result<RuncOptions, containerd_shim_protos::protobuf::Error> {
    let mut options = RuncOptions::new();
    let mut input = CodedInputStream::from_bytes(bytes);
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        // The field's number and its wire type, as below.
        match (tag >> 3, tag & 7) {
            (1, 0) => options.no_pivot_root = input.read_bool()?,
            (8, 0) => options.no_new_keyring = input.read_bool()?,
            (9, 2) => options.shim_cgroup = input.read_string()?,
            (10, 0) => options.io_uid = input.read_uint32()?,
            (11, 0) => options.io_gid = input.read_uint32()?,
            (12, 2) => options.criu_work_path = input.read_string()?,
            (13, 2) => options.criu_image_path = input.read_string()?,
            _ => containerd_shim_protos::protobuf::rt::skip_field_for_tag(tag, &mut input)?,
        }
    }
    Ok(options)
}

impl RuntimeOptions {
    fn parse(bytes: &[u8]) -> Result<Self, containerd_shim_protos::protobuf::Error> {
        let mut options = Self::default();
        let mut input = CodedInputStream::from_bytes(bytes);
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            // Protocol buffers' encoding: the field's number, then three bits of wire type (2: length-delimited).
            match tag {
                10 => options.type_url = input.read_string()?,
                18 => options.config_path = input.read_string()?,
                26 => options.config_body = input.read_bytes()?,
                _ => containerd_shim_protos::protobuf::rt::skip_field_for_tag(tag, &mut input)?,
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(type_url: &str, value: Vec<u8>) -> Any {
        Any { type_url: type_url.into(), value, ..Default::default() }
    }

    fn runc(options: &RuncOptions) -> Result<Decoded, String> {
        decode(Some(&any("containerd.runc.v1.Options", options.write_to_bytes().unwrap())))
    }

    fn field(number: u8, value: &str) -> Vec<u8> {
        let mut bytes = vec![number << 3 | 2, u8::try_from(value.len()).unwrap()];
        bytes.extend_from_slice(value.as_bytes());
        bytes
    }

    #[test]
    fn no_options_are_the_defaults() {
        assert_eq!(decode(None).unwrap().0, Options::default());
        assert_eq!(decode(Some(&Any::default())).unwrap().0, Options::default());
    }

    #[test]
    fn runtime_options_without_a_configuration_are_the_defaults() {
        for name in ["runtimeoptions.v1.Options", "types.containerd.io/io.containerd.runtimeoptions.v1.Options"] {
            let mut bytes = field(1, "io.containerd.eci.v1.Options");
            bytes.extend(field(9, "a field of tomorrow"));
            assert_eq!(decode(Some(&any(name, bytes))).unwrap().0, Options::default());
        }
    }

    #[test]
    fn a_runtime_may_have_a_config_of_its_own() {
        let decoded = |bytes| decode(Some(&any("runtimeoptions.v1.Options", bytes)));
        assert_eq!(decoded(field(2, "/etc/eci/system.toml")).unwrap().0.config_path, "/etc/eci/system.toml");
        assert_eq!(decoded(field(3, "[container]")).unwrap().0.config_body, "[container]");
        assert!(decoded(vec![26, 200]).unwrap_err().contains("cannot be decoded"));
        assert!(decoded(vec![26, 1, 255]).unwrap_err().contains("ConfigBody"));
    }

    #[test]
    fn runcs_options_are_honoured_refused_or_logged() {
        let asked = RuncOptions { no_new_keyring: true, io_uid: 5, binary_name: "runc".into(), ..Default::default() };
        let (options, notes) = runc(&asked).unwrap();
        assert!(options.no_new_keyring && options.stdio_owner == Some((5, 0)));
        assert!(notes.len() == 1 && notes[0].contains("BinaryName (runc)"));
        assert!(!options.systemd_cgroup);
        assert!(runc(&RuncOptions { systemd_cgroup: true, ..Default::default() }).unwrap().0.systemd_cgroup);
        let error = runc(&RuncOptions { no_pivot_root: true, ..Default::default() }).unwrap_err();
        assert_eq!(error, "runtime option NoPivotRoot is not implemented yet");
    }

    #[test]
    fn the_older_message_says_who_owns_the_stdio() {
        // no_new_keyring, io_uid 200000, io_gid 5, and a field of no interest (cgroups_mode).
        let bytes = [&[8 << 3, 1, 10 << 3, 0xc0, 0x9a, 0x0c, 11 << 3, 5][..], &field(7, "x")].concat();
        let (options, _) = decode(Some(&any("containerd.linux.runc.CreateOptions", bytes))).unwrap();
        assert_eq!(options, Options { no_new_keyring: true, stdio_owner: Some((200_000, 5)), ..Options::default() });
        let pivot = any("containerd.linux.runc.CreateOptions", vec![1 << 3, 1]);
        assert_eq!(decode(Some(&pivot)).unwrap_err(), "runtime option NoPivotRoot is not implemented yet");
    }

    #[test]
    fn an_unknown_type_is_refused_by_name() {
        let error = decode(Some(&any("example.com/runhcs.Options", vec![]))).unwrap_err();
        assert_eq!(error, "runtime options of type runhcs.Options are not known to this runtime");
    }
}
