use serde_json::{Value, json};

use super::*;
use crate::spec::load;

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

fn planned(hooks: Value) -> Result<Hooks, Refusal> {
    let spec = json!({ "ociVersion": "1.2.0", "hooks": hooks, "annotations": { "a": "b" } });
    let loaded = load(spec.to_string().as_bytes())?;
    super::hooks(&loaded.value, Path::new("/bundle"))
}

fn refused(hook: Value) -> String {
    planned(json!({ "createRuntime": [{ "path": "/x" }, hook] })).expect_err("refused").to_string()
}

#[test]
fn every_kind_is_a_list_of_its_own() {
    let all = KINDS.map(|kind| (kind.to_owned(), json!([{ "path": "/x" }, { "path": format!("/{kind}") }])));
    let hooks = planned(Value::Object(all.into_iter().collect())).unwrap();
    let lists = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.start_container,
        &hooks.poststart,
        &hooks.poststop,
    ];
    for (list, kind) in lists.into_iter().zip(KINDS) {
        let places: Vec<_> = list.iter().map(|hook| (hook.field.clone(), hook.path.clone())).collect();
        let expected =
            [(format!("hooks.{kind}[0]"), "/x".to_owned()), (format!("hooks.{kind}[1]"), format!("/{kind}"))];
        assert_eq!(places, expected);
    }
    assert_eq!((hooks.bundle.to_str(), hooks.annotations["a"].as_str()), (Some("/bundle"), "b"));
    assert!(hooks.wait_for_runtime());
}

#[test]
fn arguments_default_to_the_path_and_the_environment_to_nothing() {
    let hooks = planned(json!({ "poststop": [
        { "path": "/a" },
        { "path": "/b", "args": ["name", "1"], "env": ["A=", "A=2"], "timeout": 7 },
    ]}))
    .unwrap();
    let [bare, full] = hooks.poststop.as_slice() else { panic!("two hooks") };
    assert_eq!((bare.args.as_slice(), bare.env.len(), bare.timeout), (&["/a".to_owned()][..], 0, None));
    assert_eq!((full.args.join(" "), full.env.join(" "), full.timeout), ("name 1".into(), "A= A=2".into(), Some(7)));
    assert!(!hooks.wait_for_runtime());
}

#[test]
fn a_spec_without_hooks_carries_nothing() {
    assert_eq!(planned(json!({})).unwrap(), Hooks::default());
    assert_eq!(planned(json!({ "prestart": [], "poststop": null })).unwrap(), Hooks::default());
}

#[test]
fn what_is_no_hook_is_refused_by_its_name() {
    for (hook, expected) in [
        (json!({ "path": "x" }), r#"path: "x" is not an absolute path"#),
        (json!({ "path": "" }), r#"path: "" is not an absolute path"#),
        (json!({ "path": "/x\0" }), r#"path: "/x\0" has a NUL byte"#),
        (json!({ "args": ["x"] }), "path: is missing"),
        (json!({ "path": "/x", "timeout": 0 }), "timeout: 0 is not a positive number of seconds"),
        (json!({ "path": "/x", "timeout": -3 }), "timeout: -3 is not a positive number of seconds"),
        (json!({ "path": "/x", "timeout": 0.5 }), "timeout: 0.5 is not a whole number from"),
        (json!({ "path": "/x", "args": ["a", "\0"] }), r#"args[1]: "\0" has a NUL byte"#),
        (json!({ "path": "/x", "env": ["PATH"] }), r#"env[0]: "PATH" is not of the form NAME=value"#),
        (json!({ "path": "/x", "env": "PATH=/bin" }), "env: is not a list"),
    ] {
        let refusal = refused(hook);
        assert!(refusal.starts_with(&format!("hooks.createRuntime[1].{expected}")), "{refusal}");
    }
}
