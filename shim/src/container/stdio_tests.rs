use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

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
    assert!(streams.drained(Duration::from_secs(10)).await);
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
async fn the_last_of_a_terminals_output_waits_for_a_reader_that_is_slow() {
    // A fifo takes 64 KiB (pipe(7)); the rest is on its way when the terminal hangs up.
    const LENGTH: usize = (64 << 10) + 3000;
    let dir = tempfile::tempdir().unwrap();
    let path = fifo(dir.path(), "stdout");
    let mut reader = File::options().read(true).write(true).open(&path).unwrap();
    let streams = streams(Request { stdout: path, terminal: true, ..Request::default() });
    let flags = rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY;
    let master = rustix::pty::openpt(flags).unwrap();
    rustix::pty::unlockpt(&master).unwrap();
    let name = rustix::pty::ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let slave = OwnedFd::from(File::options().read(true).write(true).open(name).unwrap());
    streams.attach(master).await.unwrap();
    tokio::task::spawn_blocking(move || write(&slave, &[b'x'; LENGTH])).await.unwrap();
    assert!(!streams.drained(Duration::from_millis(200)).await);
    let mut bytes = vec![0; LENGTH];
    let read = tokio::task::spawn_blocking(move || reader.read_exact(&mut bytes).map(|()| bytes));
    let bytes = tokio::time::timeout(DRAIN, read).await.expect("the tail is lost").unwrap().unwrap();
    assert!(bytes.iter().all(|byte| *byte == b'x'));
    streams.shutdown().await;
}
