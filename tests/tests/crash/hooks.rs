//! The shim is killed while a hook runs: the hook dies with it, and `delete` takes away what is left and runs what is owed.

use std::path::PathBuf;

use rustix::process::Signal;
use tests::shim::Answer;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

use crate::look;

/// A hook that tells that it runs, and then does not end.
fn hanging(bundle: Bundle, kind: &str, notes: &std::path::Path) -> Bundle {
    let out = if kind == "startContainer" { "/out".to_owned() } else { notes.display().to_string() };
    bundle.hook(kind, &format!("test -e {out}/again && exit; touch {out}/{kind}; exec sleep 4713"))
}

fn sleepers() -> Vec<u32> {
    let is_one = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"sleep\x004713")
    };
    look::pids().into_iter().filter(is_one).collect()
}

async fn live(shim: &std::sync::Arc<Shim>, bundle: Bundle) -> Answer<()> {
    let container = Container::create_in(shim, bundle, Pipes::none()).await?;
    container.start().await?;
    container.kill("", 9, true).await?;
    container.wait_process("").await?;
    container.delete().await?;
    Ok(())
}

#[tokio::test]
async fn a_shim_that_is_killed_while_a_hook_runs_takes_the_hook_along_and_delete_cleans_up() {
    let binary = place::copy_of(&place::shim());
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        let notes: PathBuf = place::new_dir(&place::unique("hooks"));
        let count = format!("echo >> {}/count", notes.display());
        let bundle = Bundle::new().args(&["/bin/sleep", "1000"]).bind(&notes, "/out", &[]).hook("poststop", &count);
        let bundle = hanging(bundle, kind, &notes).hook("poststop", &count);
        let how = tests::shim::How { binary: binary.clone(), ..Default::default() };
        let shim = Shim::start_as(&bundle, &how).await;
        let life = tokio::spawn({
            let (shim, bundle) = (shim.clone(), bundle.clone());
            async move { live(&shim, bundle).await }
        });
        tests::until(&format!("the {kind} hook"), || notes.join(kind).exists() && !sleepers().is_empty()).await;
        look::kill(shim.pid, Signal::KILL);
        life.await.unwrap().expect_err(kind);
        tests::until(&format!("the end of the {kind} hook"), || sleepers().is_empty()).await;
        tests::until("the end of the stages", || {
            shim.processes().iter().all(|pid| look::stat(*pid).is_none_or(|it| it.0 == 'Z'))
        })
        .await;

        std::fs::write(notes.join("again"), "").unwrap();
        look::delete_twice(&bundle);
        // Each once, whoever ran it: the first of the poststop ones had ended before the shim did.
        assert_eq!(std::fs::read_to_string(notes.join("count")).unwrap(), "\n\n", "{kind}");
        assert!(look::processes_of(&bundle.id).is_empty(), "{kind}");
        let again = Container::create(bundle.clone()).await.unwrap_or_else(|failure| panic!("{kind}: {failure:?}"));
        again.start().await.expect("start");
        again.end().await;
    }
}
