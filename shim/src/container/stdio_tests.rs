use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use tokio::net::unix::pipe;

use super::*;

const MINE: (u32, u32) = (0, 0);

fn fifo(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path.to_str().unwrap().to_owned()
}

fn streams(request: Request) -> Streams {
    Streams::new(request, Names::default())
}

fn write(fd: &OwnedFd, text: &[u8]) {
    File::from(fd.try_clone().unwrap()).write_all(text).unwrap();
}

#[tokio::test]
async fn nothing_is_dev_null() {
    let fds = streams(Request::default()).open(MINE).await.unwrap();
    assert_eq!(fds.len(), 3);
    for fd in fds {
        let stat = rustix::fs::fstat(&fd).unwrap();
        assert_eq!((rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)), (1, 3));
    }
    let terminal = streams(Request { terminal: true, ..Request::default() });
    assert!(terminal.open(MINE).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_scheme_is_refused_by_name() {
    let error = streams(Request { stdout: "npipe://x".into(), ..Request::default() }).open(MINE).await.unwrap_err();
    assert_eq!(error.to_string(), "stdio scheme npipe of npipe://x is not known to this runtime");
    let stderr_only = Request { stderr: "binary:///bin/true".into(), ..Request::default() };
    assert!(matches!(streams(stderr_only).open(MINE).await, Err(Error::InvalidArgument(_))));
}

#[tokio::test]
async fn a_file_is_appended_to_and_made_with_its_directories() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/log");
    for text in [&b"one\n"[..], b"two\n"] {
        let uri = format!("file://{}", path.display());
        let streams = streams(Request { stdout: uri.clone(), stderr: uri, ..Request::default() });
        let fds = streams.open(MINE).await.unwrap();
        write(&fds[1], text);
        drop(fds);
        streams.shutdown().await;
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), "one\ntwo\n");
}

#[tokio::test]
async fn twenty_megabytes_go_through_fifos_both_ways_and_no_byte_is_lost() {
    const LENGTH: usize = 20 << 20;
    let dir = tempfile::tempdir().unwrap();
    let (stdin, stdout) = (fifo(dir.path(), "in"), fifo(dir.path(), "out"));
    let streams = streams(Request { stdin: stdin.clone(), stdout: stdout.clone(), ..Request::default() });
    let mut fds = streams.open(MINE).await.unwrap().into_iter();
    let (process_in, process_out) = (fds.next().unwrap(), fds.next().unwrap());
    let byte = |at: usize| (at * 31 % 251) as u8;
    let writer = std::thread::spawn(move || {
        let data: Vec<u8> = (0..LENGTH).map(byte).collect();
        File::options().write(true).open(stdin).unwrap().write_all(&data).unwrap();
    });
    let reader = std::thread::spawn(move || {
        let mut data = Vec::new();
        File::open(stdout).unwrap().read_to_end(&mut data).unwrap();
        data
    });
    // The process: what comes in goes out.
    let process = std::thread::spawn(move || {
        std::io::copy(&mut File::from(process_in), &mut File::from(process_out)).unwrap();
    });
    let joined = tokio::task::spawn_blocking(move || writer.join().unwrap());
    joined.await.unwrap();
    streams.close_stdin();
    tokio::task::spawn_blocking(move || process.join().unwrap()).await.unwrap();
    streams.shutdown().await;
    let data = tokio::task::spawn_blocking(move || reader.join().unwrap()).await.unwrap();
    assert!(data.len() == LENGTH && data.iter().enumerate().all(|(at, found)| *found == byte(at)));
}

#[tokio::test]
async fn output_counts_as_drained_once_nobody_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = fifo(dir.path(), "out");
    let streams = streams(Request { stdout: stdout.clone(), ..Request::default() });
    let mut engine = File::options().read(true).write(true).open(stdout).unwrap();
    let fds = streams.open(MINE).await.unwrap();
    write(&fds[1], b"hello");
    assert!(!streams.drained(Duration::from_millis(20)).await, "a grandchild still holds it");
    drop(fds);
    assert!(streams.drained(Duration::from_secs(60)).await);
    let mut buffer = [0; 5];
    engine.read_exact(&mut buffer).unwrap();
    assert_eq!(&buffer, b"hello");
}

#[tokio::test]
async fn a_size_that_comes_before_the_terminal_is_not_lost() {
    let streams = streams(Request { terminal: true, ..Request::default() });
    streams.resize(101, 37).unwrap();
    let pty = nix::pty::openpty(None, None).unwrap();
    streams.attach(pty.master).await.unwrap();
    let size = rustix::termios::tcgetwinsize(&pty.slave).unwrap();
    assert_eq!((size.ws_col, size.ws_row), (101, 37));
    streams.resize(80, 25).unwrap();
    assert_eq!(rustix::termios::tcgetwinsize(&pty.slave).unwrap().ws_row, 25);
    drop(pty.slave);
    streams.shutdown().await;
}

#[tokio::test]
async fn a_terminal_that_hangs_up_loses_nothing_of_what_waits_for_a_slow_engine() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = fifo(dir.path(), "out");
    let streams = streams(Request { stdout: stdout.clone(), terminal: true, ..Request::default() });
    let mut engine = pipe::OpenOptions::new().read_write(true).open_receiver(stdout).unwrap();
    // More than the fifo takes, so that the rest waits in the copy, which takes all of it: a fifo of one page is full with
    // whatever comes first, if the next does not fit in (`pipe_write()` of fs/pipe.c).
    let length = rustix::pipe::fcntl_setpipe_size(&engine, 1).unwrap() + 2000;
    let pty = nix::pty::openpty(None, None).unwrap();
    streams.attach(pty.master).await.unwrap();
    let process = std::thread::spawn(move || File::from(pty.slave).write_all(&vec![b'x'; length]).unwrap());
    tokio::task::spawn_blocking(move || process.join().unwrap()).await.unwrap();
    // The terminal has hung up, and the copy has been told so.
    assert!(!streams.drained(Duration::from_millis(200)).await, "there is more than fits");
    let mut data = vec![0; length];
    let read = tokio::io::AsyncReadExt::read_exact(&mut engine, &mut data);
    tokio::time::timeout(Duration::from_secs(60), read).await.expect("all of it").unwrap();
    assert!(data.iter().all(|byte| *byte == b'x'));
    assert!(streams.drained(Duration::from_secs(60)).await);
    streams.shutdown().await;
}

/// An engine as Go's fifo package is one: its open waits for a writer, on a thread of its own, and it reads to the end.
fn engine(path: &str) -> tokio::sync::oneshot::Receiver<Vec<u8>> {
    let (sender, read) = tokio::sync::oneshot::channel();
    let path = path.to_owned();
    std::thread::spawn(move || {
        let mut data = Vec::new();
        File::open(path).unwrap().read_to_end(&mut data).unwrap();
        let _ = sender.send(data);
    });
    read
}

async fn all_of(engine: tokio::sync::oneshot::Receiver<Vec<u8>>) -> Vec<u8> {
    tokio::time::timeout(Duration::from_secs(60), engine).await.expect("the engine hears an end").unwrap()
}

/// The shim has let go of a fifo. (A process that another test is starting just now has it until it executes.)
async fn is_let_go_of(path: &str) {
    let nobody = async {
        while pipe::OpenOptions::new().open_sender(path).is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), nobody).await.expect("the shim has let go");
    let nobody = pipe::OpenOptions::new().open_sender(path).unwrap_err();
    assert_eq!(nobody.raw_os_error(), Some(libc::ENXIO));
}

#[tokio::test]
async fn a_program_that_ends_before_the_engine_opens_the_fifo_is_heard() {
    for text in [&b"hello"[..], b""] {
        let dir = tempfile::tempdir().unwrap();
        let stdout = fifo(dir.path(), "out");
        let streams = streams(Request { stdout: stdout.clone(), ..Request::default() });
        let fds = streams.open(MINE).await.unwrap();
        write(&fds[1], text);
        drop(fds);
        assert!(!streams.drained(Duration::from_millis(200)).await, "nobody has it");
        assert_eq!(all_of(engine(&stdout)).await, text);
        assert!(streams.drained(Duration::from_secs(60)).await);
        streams.shutdown().await;
    }
}

#[tokio::test]
async fn what_the_engine_left_unread_waits_for_its_return() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = fifo(dir.path(), "out");
    let streams = streams(Request { stdout: stdout.clone(), ..Request::default() });
    let first = pipe::OpenOptions::new().open_receiver(&stdout).unwrap();
    let fds = streams.open(MINE).await.unwrap();
    drop(first);
    write(&fds[1], b"hello");
    drop(fds);
    assert!(!streams.drained(Duration::from_millis(200)).await, "nobody has read it");
    assert_eq!(all_of(engine(&stdout)).await, b"hello");
    assert!(streams.drained(Duration::from_secs(60)).await);
}

#[tokio::test]
async fn an_engine_that_has_read_everything_or_left_and_deletes_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let (read, unread) = (fifo(dir.path(), "out"), fifo(dir.path(), "err"));
    let request = Request { stdout: read.clone(), stderr: unread.clone(), ..Request::default() };
    let streams = streams(request);
    let [mut first, second] = [&read, &unread].map(|path| pipe::OpenOptions::new().open_receiver(path).unwrap());
    let fds = streams.open(MINE).await.unwrap();
    write(&fds[1], b"hello");
    tokio::io::AsyncReadExt::read_exact(&mut first, &mut [0; 5]).await.unwrap();
    drop((first, second));
    write(&fds[2], b"unread");
    drop(fds);
    let mut outputs = streams.outputs.subscribe();
    let one = tokio::time::timeout(Duration::from_secs(60), outputs.wait_for(|open| *open == 1)).await;
    one.expect("what was read is let go of").unwrap();
    assert!(!streams.drained(Duration::from_millis(50)).await, "the other is not");
    // Delete gives it ten seconds while it is copied, and none when it only waits.
    tokio::time::timeout(DRAIN / 2, streams.shutdown()).await.expect("Delete does not wait");
    is_let_go_of(&unread).await;
}

#[tokio::test]
async fn an_engine_that_comes_after_it_deletes_is_heard_and_one_that_never_comes_is_given_up() {
    for comes in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let stdout = fifo(dir.path(), "out");
        let streams = streams(Request { stdout: stdout.clone(), ..Request::default() });
        let fds = streams.open(MINE).await.unwrap();
        write(&fds[1], b"hello");
        drop(fds);
        let late = async {
            assert!(!streams.drained(Duration::from_millis(100)).await, "nobody has it");
            if comes { all_of(engine(&stdout)).await } else { Vec::new() }
        };
        let ((), heard) = tokio::join!(streams.shutdown(), late);
        assert_eq!(heard, if comes { &b"hello"[..] } else { b"" });
        is_let_go_of(&stdout).await;
    }
}

/// Asked at once, before anybody can have read it.
#[tokio::test]
async fn an_exit_waits_until_what_was_written_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let stdout = fifo(dir.path(), "out");
    let streams = streams(Request { stdout: stdout.clone(), ..Request::default() });
    let fds = streams.open(MINE).await.unwrap();
    write(&fds[1], b"hello");
    drop(fds);
    let heard = streams.heard();
    tokio::pin!(heard);
    assert!(tokio::time::timeout(3 * READ, &mut heard).await.is_err(), "its engine has not come");
    assert_eq!(all_of(engine(&stdout)).await, b"hello");
    heard.await;
    streams.shutdown().await;
}

#[tokio::test]
async fn an_exit_waits_for_an_engine_that_is_late_and_for_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let (out, err) = (fifo(dir.path(), "out"), fifo(dir.path(), "err"));
    let streams = streams(Request { stdout: out.clone(), stderr: err.clone(), ..Request::default() });
    let there = pipe::OpenOptions::new().open_receiver(&err).unwrap();
    let fds = streams.open(MINE).await.unwrap();
    // Somebody still holds it open.
    tokio::time::timeout(fifo::LATE / 2, streams.heard()).await.expect("nothing is at its end");
    write(&fds[1], b"hello");
    write(&fds[2], b"not read");
    drop((fds, there));
    let mut unheard = streams.unheard.subscribe();
    let one = tokio::time::timeout(Duration::from_secs(60), unheard.wait_for(|outputs| *outputs == 1)).await;
    one.expect("the other's engine was there").unwrap();
    let heard = streams.heard();
    tokio::pin!(heard);
    let waits = tokio::time::timeout(Duration::from_millis(50), &mut heard).await;
    assert!(waits.is_err(), "nobody has it");
    assert_eq!(all_of(engine(&out)).await, b"hello");
    heard.await;
    assert_eq!(*streams.unheard.borrow(), 0, "it has been heard, and not given up");
}
