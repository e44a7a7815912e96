use super::{Ancestors, Config, Grants, KEYS, Missing, Ranges, Scope, Sysctl, Unmappable};

fn refused(text: &str) -> String {
    Config::parse(text, "config.toml").expect_err("must be refused").to_string()
}

fn parsed(text: &str) -> Config {
    Config::parse(text, "config.toml").unwrap()
}

fn ranges(first: Option<u32>, count: Option<u32>) -> Config {
    Config { ranges: Ranges { first, count }, ..Config::default() }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(parsed(""), Config::default());
    assert_eq!(parsed("# nothing\n[ranges]\n"), Config::default());
    let default = Config::default();
    assert_eq!((default.container.grants, default.namespaces.missing), (Grants::Spec, Missing::Refuse));
    assert_eq!((default.mounts.ancestors, default.mounts.unmappable), (Ancestors::Refuse, Unmappable::Refuse));
    assert!(!default.container.io_uring);
}

#[test]
fn the_pool_is_configurable() {
    let both = ranges(Some(1_000_000), Some(3));
    assert_eq!(parsed("[ranges]\nfirst = 1_000_000\ncount = 3\n"), both);
    assert_eq!(parsed("ranges = { count = 3, first = 1000000 }"), both);
    assert_eq!(parsed("[ranges]\nfirst = 0x10000"), ranges(Some(65536), None));
}

#[test]
fn every_type_of_value_is_read() {
    let config = parsed(
        "[container]\ngrants = \"system\"\nio_uring = true\nmax_user_namespaces = 0\n[namespaces]\nmissing = \"private\"\n\
         [mounts]\nshared = [\"/srv//data/\", \"/home\"]\nancestors = \"mask\"\nunmappable = \"plain\"",
    );
    assert_eq!((config.container.grants, config.container.io_uring), (Grants::System, true));
    assert_eq!(config.container.max_user_namespaces, Some(0));
    assert_eq!(config.namespaces.missing, Missing::Private);
    assert_eq!(config.mounts.shared, Some(vec!["/srv/data".into(), "/home".into()]));
    assert_eq!((config.mounts.ancestors, config.mounts.unmappable), (Ancestors::Mask, Unmappable::Plain));
}

#[test]
fn what_is_not_understood_is_refused_with_its_line_and_key() {
    let cases = [
        ("\n[range]\n", "config.toml:2: range: there is no such key, the nearest is ranges"),
        ("[ranges]\n\nfrist = 1\n", "config.toml:3: ranges.frist: there is no such key, the nearest is ranges.first"),
        ("[mounts]\nsource = 1\n", "config.toml:2: mounts.source: there is no such key, the nearest is mounts.shared"),
        ("ranges = 3", "config.toml:1: ranges: must be a table"),
        ("[ranges]\nfirst = \"100000\"", "config.toml:2: ranges.first: must be an integer, and is a string"),
        ("[ranges]\nfirst = 65535", "config.toml:2: ranges.first: must be from 65536 to 4294967295"),
        ("[ranges]\ncount = 0", "config.toml:2: ranges.count: must be from 1 to 4294967295"),
        ("[ranges]\ncount = -1", "config.toml:2: ranges.count: must be from 1 to 4294967295"),
        ("[ranges]\nfirst = 4294967296", "config.toml:2: ranges.first: must be from 65536 to 4294967295"),
        ("[container]\nio_uring = 1", "config.toml:2: container.io_uring: must be true or false, and is an integer"),
        (
            "[container]\ngrants = \"all\"",
            "config.toml:2: container.grants: must be \"spec\" or \"system\", not \"all\"",
        ),
        (
            "[container]\ngrants = 1",
            "config.toml:2: container.grants: must be \"spec\" or \"system\", and is an integer",
        ),
        (
            "[sysctl]\n\nnf_conntrak_max = {max = 1}",
            "config.toml:3: sysctl.nf_conntrak_max: there is no such key, the nearest is sysctl.nf_conntrack_max",
        ),
        (
            "[sysctl.nf_conntrack_max]\nmin = 1",
            "config.toml:2: sysctl.nf_conntrack_max.min: there is no such key, the nearest is sysctl.nf_conntrack_max.max",
        ),
        ("[sysctl]\nmax_map_count = 1", "config.toml:2: sysctl.max_map_count: must be a table, { max = ... }"),
        ("sysctl = 1", "config.toml:1: sysctl: must be a table"),
        (
            "[sysctl]\nmax_map_count = {max = \"1\"}",
            "config.toml:2: sysctl.max_map_count.max: must be an integer, and is a string",
        ),
        ("[sysctl]\nmax_map_count.max = 0", "config.toml:2: sysctl.max_map_count.max: must be from 1 to 2147483647"),
        (
            "[sysctl]\nmax_map_count.max = 2147483648",
            "config.toml:2: sysctl.max_map_count.max: must be from 1 to 2147483647",
        ),
        ("[mounts]\nshared = \"/srv\"", "config.toml:2: mounts.shared: must be a list of paths, and is a string"),
        ("[mounts]\nshared = [1]", "config.toml:2: mounts.shared: must be a list of paths, and is an integer"),
        (
            "[mounts]\nshared = [\"srv\"]",
            "config.toml:2: mounts.shared: \"srv\" is not an absolute path without \"..\"",
        ),
        (
            "[mounts]\nshared = [\"/srv/../etc\"]",
            "config.toml:2: mounts.shared: \"/srv/../etc\" is not an absolute path without \"..\"",
        ),
    ];
    for (text, message) in cases {
        assert_eq!(refused(text), message, "{text:?}");
    }
    let syntax = refused("[ranges]\nfirst = = 1");
    assert!(syntax.starts_with("config.toml:2: "), "{syntax}");
}

#[test]
fn a_ceiling_has_a_table_of_its_own_however_it_is_written() {
    for text in [
        "[sysctl]\nnf_conntrack_max = {max = 1_000_000}\naio-max-nr.max = 7",
        "[sysctl.nf_conntrack_max]\nmax = 1000000\n[sysctl.aio-max-nr]\nmax = 7",
    ] {
        let config = parsed(text);
        let sysctl = Sysctl { nf_conntrack_max: Some(1_000_000), aio_max_nr: Some(7), ..Sysctl::default() };
        assert_eq!(config, Config { sysctl, ..Config::default() });
        assert_eq!(parsed(&config.show()), config);
        assert_eq!(sysctl.ceiling("/proc/sys/fs/aio-max-nr"), Some(7));
        assert_eq!((sysctl.ceiling("/proc/sys/vm/max_map_count"), sysctl.ceiling("max")), (None, None));
    }
    // One that holds is not taken back by a table that says nothing.
    let mut config = parsed("[sysctl]\nmax_map_count = {max = 5}");
    config.apply("[sysctl]\nmax_map_count = {}\naio-max-nr = {max = 6}", "own.toml", Scope::Runtime).unwrap();
    assert_eq!((config.sysctl.max_map_count, config.sysctl.aio_max_nr), (Some(5), Some(6)));
}

#[test]
fn every_ceiling_has_a_key_and_a_setting_of_its_own() {
    let keys: Vec<_> = KEYS.iter().filter(|key| key.table() == "sysctl").collect();
    for (index, key) in keys.iter().enumerate() {
        let config = parsed(&format!("[sysctl]\n{} = 5", key.name()));
        let set: Vec<_> = config.sysctl.ceilings().into_iter().filter(|(_, ceiling)| *ceiling == Some(5)).collect();
        assert_eq!(set.len(), 1, "{}", key.path);
        assert_eq!(config.sysctl.ceilings()[index], set[0]);
        assert!(key.meaning.contains(&format!("`{}`", set[0].0)), "{}", key.path);
    }
    assert_eq!(keys.len(), Config::default().sysctl.ceilings().len());
}

#[test]
fn the_pool_ends_before_the_last_id() {
    let reason = "65535 ranges from id 100000 on end beyond the last id; there is room for 65534";
    let text = "[ranges]\ncount = 65535";
    assert_eq!(refused(text), format!("config.toml:1: ranges.count: {reason}"));
    assert_eq!(parsed("[ranges]\ncount = 65534"), ranges(None, Some(65534)));
}

#[test]
fn a_message_is_one_line() {
    for text in ["[ranges\nfirst", "x = \"\"\"\n", "\u{0}", "[ranges]\n\"a\\nb\" = 1", "[mounts]\nshared = [\"a\\nb\"]"]
    {
        assert!(!refused(text).contains('\n'), "{text:?}");
    }
}

#[test]
fn a_runtimes_own_text_changes_what_it_names() {
    let mut config = parsed("[ranges]\ncount = 3\n[mounts]\nrestricted = [\"/srv/secret\"]\nancestors = \"mask\"");
    config.apply("[mounts]\nancestors = \"refuse\"", "system.toml", Scope::Runtime).unwrap();
    assert_eq!(config.ranges.count, Some(3));
    assert_eq!(config.mounts.restricted, Some(vec!["/srv/secret".into()]));
    assert_eq!(config.mounts.ancestors, Ancestors::Refuse);
    let refused = config.apply("[ranges]\nfirst = 200000", "system.toml", Scope::Runtime).expect_err("the host's");
    assert_eq!(
        refused.to_string(),
        "system.toml:2: ranges.first: is about the whole host, and belongs in /etc/eci/config.toml"
    );
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    for text in [
        "",
        "[container]\ngrants = \"system\"\n[mounts]\nshared = []\nrestricted = [\"/a \\\"b\\\"\"]\n[ranges]\nfirst = 70000",
    ] {
        let config = parsed(text);
        assert_eq!(parsed(&config.show()), config);
    }
    assert!(Config::default().show().contains("# shared: everything that is not restricted\n"));
}

#[test]
fn the_example_names_every_key_and_can_be_used() {
    let example = include_str!("../../../docs/config.toml");
    parsed(example);
    let used: String = example
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(line) if line.contains(" = ") => format!("{line}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    parsed(&used);
    for key in KEYS {
        assert!(used.lines().any(|line| line.starts_with(&format!("{} = ", key.name()))), "{}", key.path);
    }
}

#[test]
fn each_key_is_documented_with_its_values_and_its_default() {
    let documentation = include_str!("../../../docs/configuration.md");
    for key in KEYS {
        let row = format!("| `{}` | {} | {} | {} |", key.path, key.kind(), key.default, key.meaning);
        assert!(documentation.contains(&row), "docs/configuration.md must have the row\n{row}");
    }
}
