//! The command line with which containerd starts a shim, in the spelling of Go's `flag` package.

use std::path::PathBuf;

/// What containerd says about the container on the command line (runtime/v2 README, "Flags").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    /// `-namespace`: the container's namespace.
    pub(crate) namespace: String,
    /// `-id`: the container's id.
    pub(crate) id: String,
    /// `-address`: containerd's GRPC socket.
    pub(crate) address: String,
    /// `-publish-binary`: containerd's own binary. Events go over ttrpc, so it is not used.
    pub(crate) publish_binary: String,
    /// `-bundle`: the bundle's directory; empty where the working directory is the bundle.
    pub(crate) bundle: String,
    /// `-debug`
    pub(crate) debug: bool,
    /// `-v`
    pub(crate) version: bool,
    /// `-info`
    pub(crate) info: bool,
    /// The first argument that is not a flag: `start`, `delete`, or nothing.
    pub(crate) action: String,
}

impl Flags {
    /// Reads the arguments after the program's name: one dash or two, `-name value` or `-name=value`, flags end at the
    /// first argument that is none, or at `--`.
    ///
    /// # Errors
    /// One line, when a flag is unknown or lacks its value.
    pub(crate) fn parse(args: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut flags = Self::default();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let Some(name) = flag_name(&arg) else {
                flags.action = if arg == "--" { args.next().unwrap_or_default() } else { arg };
                break;
            };
            let (name, value) = match name.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (name, None),
            };
            if let Some(field) = flags.switch(name) {
                *field = truth(name, value.as_deref())?;
            } else if let Some(field) = flags.text(name) {
                *field = value.or_else(|| args.next()).ok_or_else(|| format!("flag needs an argument: -{name}"))?;
            } else {
                return Err(format!("flag provided but not defined: -{name}"));
            }
        }
        Ok(flags)
    }

    /// The bundle: `-bundle`, or the working directory, where containerd puts it.
    pub(crate) fn bundle(&self) -> PathBuf {
        if self.bundle.is_empty() { PathBuf::from(".") } else { PathBuf::from(&self.bundle) }
    }

    fn switch(&mut self, name: &str) -> Option<&mut bool> {
        match name {
            "debug" => Some(&mut self.debug),
            "v" => Some(&mut self.version),
            "info" => Some(&mut self.info),
            _ => None,
        }
    }

    fn text(&mut self, name: &str) -> Option<&mut String> {
        match name {
            "namespace" => Some(&mut self.namespace),
            "id" => Some(&mut self.id),
            "address" => Some(&mut self.address),
            "publish-binary" => Some(&mut self.publish_binary),
            "bundle" => Some(&mut self.bundle),
            _ => None,
        }
    }
}

/// The name behind one or two dashes; none for `-`, `--` and plain arguments.
fn flag_name(arg: &str) -> Option<&str> {
    let name = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-'))?;
    (!name.is_empty()).then_some(name)
}

/// The values that Go's `strconv.ParseBool` takes.
fn truth(name: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(value) => Err(format!("invalid boolean value {value:?} for -{name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, String> {
        Flags::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn containerds_own_lines_are_read() {
        let line = "-namespace moby -address /run/c.sock -publish-binary /usr/bin/containerd -id abc start";
        let flags = parse(line).unwrap();
        assert_eq!((flags.namespace.as_str(), flags.id.as_str(), flags.action.as_str()), ("moby", "abc", "start"));
        assert_eq!((flags.address.as_str(), flags.publish_binary.as_str()), ("/run/c.sock", "/usr/bin/containerd"));
        let flags = parse("-namespace k8s.io -id x -bundle /run/b -debug delete").unwrap();
        assert!(flags.debug && flags.action == "delete" && flags.bundle == "/run/b");
    }

    #[test]
    fn both_dashes_and_both_forms_of_values_are_the_same() {
        let one = parse("-namespace=n --id=i -debug=false start").unwrap();
        let two = parse("--namespace n -id i start").unwrap();
        assert_eq!(one, two);
        assert!(parse("-v").unwrap().version && parse("--info").unwrap().info);
        assert_eq!(parse("-id i -- start").unwrap().action, "start");
    }

    #[test]
    fn unknown_flags_and_missing_values_are_refused() {
        assert_eq!(parse("-what start").unwrap_err(), "flag provided but not defined: -what");
        assert_eq!(parse("-id").unwrap_err(), "flag needs an argument: -id");
        assert_eq!(parse("-debug=maybe").unwrap_err(), "invalid boolean value \"maybe\" for -debug");
    }
}
