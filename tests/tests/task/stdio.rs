//! Standard input and output: nothing is lost, nothing ends early, and every kind of place is served.

use std::io::{Read, Write};

use containerd_shim_protos::api;
use tests::shim::deadline;
use tests::stdio::Pipes;
use tests::{Bundle, Container, place};

#[tokio::test]
async fn no_line_is_lost_before_an_exit() {
    let script = "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo line $i; done; exit 7";
    let expected: String = (1..=50).map(|number| format!("line {number}\n")).collect();
    let container = Container::sleeping(Bundle::new()).await;
    for output in [Bundle::new().sh(script).run().await, container.sh(script).await] {
        assert_eq!((output.status, output.stdout.as_str()), (7, expected.as_str()));
    }
    container.end().await;
}

/// 8 MiB of numbered lines, and their checksum.
const BURST: &str = "seq -w 1 1048576";

fn is_burst(text: &str) -> bool {
    text.len() == 8 << 20 && text.lines().enumerate().all(|(at, line)| line.parse() == Ok(at + 1))
}

#[tokio::test]
async fn a_burst_is_whole_although_delete_comes_at_once() {
    let mut container = Container::started(Bundle::new().sh(BURST)).await;
    assert_eq!(container.wait().await, 0);
    container.delete().await.unwrap();
    let (stdout, _) = container.pipes.read().await;
    assert!(is_burst(std::str::from_utf8(&stdout).unwrap()), "{} bytes", stdout.len());
    container.shim.shut_down().await.unwrap();

    let container = Container::sleeping(Bundle::new()).await;
    let mut pipes = Pipes::output();
    container.add_process("burst", &container.process(&["/bin/sh", "-c", BURST]), &pipes).await.unwrap();
    container.start_process("burst").await.unwrap();
    assert_eq!(container.wait_process("burst").await.unwrap().exit_status, 0);
    container.delete_process("burst").await.unwrap();
    let (stdout, _) = pipes.read().await;
    assert!(is_burst(std::str::from_utf8(&stdout).unwrap()), "{} bytes", stdout.len());
    container.end().await;
}

#[tokio::test]
async fn output_of_a_grandchild_is_drained_after_the_execs_exit() {
    let container = Container::sleeping(Bundle::new()).await;
    let output = container.sh("(sleep 1; echo late) & exit 5").await;
    assert_eq!((output.status, output.stdout.as_str()), (5, "late\n"));
    container.end().await;
}

#[tokio::test]
async fn a_program_that_is_gone_before_its_output_is_opened_is_heard() {
    let container = Container::sleeping(Bundle::new()).await;
    for script in ["echo brief; exit 3", "exit 3"] {
        let mut pipes = Pipes::unopened();
        let exec = place::unique("late");
        container.add_process(&exec, &container.process(&["/bin/sh", "-c", script]), &pipes).await.unwrap();
        container.start_process(&exec).await.unwrap();
        assert_eq!(container.wait_process(&exec).await.unwrap().exit_status, 3);
        pipes.open();
        let (stdout, _) = pipes.read().await;
        assert_eq!(stdout, if script == "exit 3" { &b""[..] } else { b"brief\n" });
        container.delete_process(&exec).await.unwrap();
    }
    container.end().await;
}

async fn close_stdin(container: &Container, exec: &str) {
    let request = api::CloseIORequest { id: container.id(), exec_id: exec.into(), stdin: true, ..Default::default() };
    container.shim.task.close_io(deadline(), &request).await.unwrap();
}

#[tokio::test]
async fn twenty_megabytes_go_through_cat_and_only_close_io_ends_them() {
    let pipes = Pipes::all();
    let mut container = Container::create_with(Bundle::new().args(&["/bin/cat"]), pipes).await.unwrap();
    container.start().await.unwrap();
    let bytes: Vec<u8> = (0..10 << 20).map(|at: u32| (at * 31 % 251) as u8).collect();
    for half in [bytes.clone(), bytes.clone()] {
        let mut stdin = container.pipes.open_stdin();
        // The end of one writer is no end of input: the second half comes from another.
        tokio::task::spawn_blocking(move || stdin.write_all(&half)).await.unwrap().unwrap();
    }
    let state = container.state("").await.unwrap();
    assert_eq!(state.status.enum_value(), Ok(api::Status::RUNNING));
    close_stdin(&container, "").await;
    assert_eq!(container.wait().await, 0);
    let (stdout, _) = container.pipes.read().await;
    assert!(stdout == [bytes.as_slice(), &bytes].concat(), "{} bytes", stdout.len());
    container.end().await;
}

#[tokio::test]
async fn an_exec_needs_no_stdio_at_all() {
    let container = Container::sleeping(Bundle::new()).await;
    let spec = container.process(&["/bin/sh", "-c", "echo lost; echo lost >&2; read x; test -z \"$x\""]);
    container.add_process("e", &spec, &Pipes::none()).await.unwrap();
    container.start_process("e").await.unwrap();
    assert_eq!(container.wait_process("e").await.unwrap().exit_status, 0);
    container.delete_process("e").await.unwrap();
    container.end().await;
}

#[tokio::test]
async fn a_file_is_appended_to() {
    let file = place::new_dir("log").join("deeper/out");
    for text in ["one", "two"] {
        let mut pipes = Pipes::none();
        pipes.stdout = format!("file://{}", file.display());
        pipes.stderr = pipes.stdout.clone();
        let bundle = Bundle::new().sh(&format!("echo {text}"));
        let container = Container::create_with(bundle, pipes).await.unwrap();
        container.start().await.unwrap();
        container.wait().await;
        container.end().await;
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "one\ntwo\n");
}

#[tokio::test]
async fn a_logging_program_gets_both_outputs_its_arguments_and_names() {
    let dir = place::new_dir("logger");
    let logger = dir.join("logger");
    let script = format!(
        "#!/bin/bash\nprintenv | grep CONTAINER_ | sort > {0}/env\necho \"$@\" > {0}/args\nexec 5>&-\n\
         cat <&3 > {0}/out &\ncat <&4 > {0}/err\nwait\ntouch {0}/done\n",
        dir.display()
    );
    place::script(&logger, &script);
    let mut pipes = Pipes::none();
    pipes.stdout = format!("binary://{}?key=a%20value", logger.display());
    pipes.stderr = pipes.stdout.clone();
    let container = Container::create_with(Bundle::new().sh("echo out; echo err >&2"), pipes).await.unwrap();
    container.start().await.unwrap();
    assert_eq!(container.wait().await, 0);
    container.delete().await.unwrap();
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert!(dir.join("done").exists(), "Delete waits for the logging program");
    assert_eq!(
        (read("out").as_str(), read("err").as_str(), read("args").as_str()),
        ("out\n", "err\n", "key a value\n")
    );
    let names = format!("CONTAINER_ID={}\nCONTAINER_NAMESPACE={}\n", container.id(), tests::shim::NAMESPACE);
    assert_eq!(read("env"), names);
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn a_logging_program_that_is_missing_fails_create() {
    let mut pipes = Pipes::none();
    pipes.stdout = "binary:///nowhere/logger".into();
    let failure = Container::create_with(Bundle::new(), pipes).await.err().expect("create");
    assert!(failure.message.contains("start logging program binary:///nowhere/logger: No such file"), "{failure:?}");
}

/// A logging program of binary-v2 that does `ready` first, and then copies standard output to `out` beside it.
fn strict_logger(ready: &str) -> (std::path::PathBuf, Pipes) {
    let dir = place::new_dir("logger");
    let logger = dir.join("logger");
    place::script(&logger, &format!("#!/bin/sh\n{ready}\nexec 5>&-\ncat <&3 > {}/out\n", dir.display()));
    let mut pipes = Pipes::none();
    pipes.stdout = format!("binary-v2://{}", logger.display());
    pipes.stderr = pipes.stdout.clone();
    (dir.join("out"), pipes)
}

#[tokio::test]
async fn a_logging_program_of_binary_v2_says_that_it_is_ready() {
    let (out, pipes) = strict_logger("printf x >&5");
    let container = Container::create_with(Bundle::new().sh("echo heard"), pipes).await.unwrap();
    container.start().await.unwrap();
    assert_eq!(container.wait().await, 0);
    container.delete().await.unwrap();
    assert_eq!(std::fs::read_to_string(out).unwrap(), "heard\n");
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn one_that_does_not_say_so_fails_create_though_binary_would_do() {
    for silent in ["true", "exit 0"] {
        let (_, pipes) = strict_logger(silent);
        let lenient = pipes.stdout.replace("binary-v2://", "binary://");
        let failure = Container::create_with(Bundle::new(), pipes).await.err().expect("create");
        assert!(failure.message.contains("without saying that it is ready"), "{failure:?}");
        assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
        let mut pipes = Pipes::none();
        (pipes.stdout, pipes.stderr) = (lenient.clone(), lenient);
        let container = Container::create_with(Bundle::new().args(&["/bin/true"]), pipes).await.unwrap();
        container.start().await.unwrap();
        container.end().await;
    }
    let mut pipes = Pipes::none();
    pipes.stdout = "binary-v3:///bin/true".into();
    let failure = Container::create_with(Bundle::new(), pipes).await.err().expect("create");
    assert!(failure.message.contains("stdio scheme binary-v3 of binary-v3:///bin/true is not known"), "{failure:?}");
}

async fn resize(container: &Container, exec: &str, width: u32, height: u32) {
    let (id, exec_id) = (container.id(), exec.to_owned());
    let request = api::ResizePtyRequest { id, exec_id, width, height, ..Default::default() };
    container.shim.task.resize_pty(deadline(), &request).await.unwrap();
}

#[tokio::test]
async fn a_terminal_has_the_size_that_was_asked_for_before_start() {
    let script = "stty size; tty; test -c /dev/console && stty size < /dev/console";
    let container =
        Container::create_with(Bundle::new().sh(script).set("/process/terminal", true.into()), Pipes::terminal());
    let mut container = container.await.unwrap();
    resize(&container, "", 123, 45).await;
    container.start().await.unwrap();
    let output = container.output().await;
    assert_eq!(output.ok(), "45 123\r\n/dev/pts/0\r\n45 123", "{output:?}");
    container.end().await;
}

#[tokio::test]
async fn an_exec_has_a_terminal_of_its_own_that_can_be_resized_and_attached_to_again() {
    let container = Container::sleeping(Bundle::new()).await;
    let mut pipes = Pipes::terminal();
    let spec =
        container.process(&["/bin/sh", "-c", "stty -echo; stty size; while read x; do echo got $x; stty size; done"]);
    container.add_process("t", &spec, &pipes).await.unwrap();
    resize(&container, "t", 80, 24).await;
    container.start_process("t").await.unwrap();
    resize(&container, "t", 100, 30).await;
    for word in ["one", "two"] {
        // Each writer goes away, as a client that detaches.
        writeln!(pipes.open_stdin(), "{word}").unwrap();
    }
    let mut stdin = pipes.open_stdin();
    // End of file, as typed.
    stdin.write_all(b"\x04").unwrap();
    assert_eq!(container.wait_process("t").await.unwrap().exit_status, 0);
    let (stdout, _) = pipes.read().await;
    let text = String::from_utf8(stdout).unwrap().replace("\r\n", " ");
    assert!(text.contains("got one 30 100 got two 30 100"), "{text:?}");
    container.end().await;
}

#[tokio::test]
async fn a_reader_that_goes_away_and_comes_back_loses_no_container() {
    let dir = place::new_dir("again");
    let fifo = dir.join("stdout");
    tests::stdio::fifo(&fifo);
    let mut pipes = Pipes::none();
    pipes.stdout = fifo.display().to_string();
    let bundle = Bundle::new().sh("while true; do echo tick; sleep 0.05; done");
    let container = Container::create_with(bundle, pipes).await.unwrap();
    container.start().await.unwrap();
    for _ in 0..3 {
        let fifo = fifo.clone();
        let read = move || {
            let mut bytes = [0; 5];
            std::fs::File::open(fifo).and_then(|mut reader| reader.read_exact(&mut bytes)).map(|()| bytes)
        };
        let read = tokio::time::timeout(tests::shim::PATIENCE, tokio::task::spawn_blocking(read)).await;
        assert_eq!(&read.expect("no output").unwrap().unwrap(), b"tick\n");
    }
    assert_eq!(container.state("").await.unwrap().status.enum_value(), Ok(api::Status::RUNNING));
    container.end().await;
}
