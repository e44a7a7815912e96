//! Terminals: `ctr run -t`, `ctr task exec -t`, `ctr task attach`, with a person's window that changes its size.

use tests::host::Host;
use tests::terminal::Terminal;

on_each_suite!(
    a_terminal_shows_takes_and_changes_its_size,
    an_exec_has_a_terminal_of_its_own,
    a_task_is_attached_to_again,
);

/// Runs a command of `ctr` on a terminal of 100 columns and 30 rows, as its controlling one: there a new size is signalled.
fn on_terminal(host: &Host, command: &str) -> Terminal {
    Terminal::start(host.command(&format!("exec setsid --ctty --wait {command}")), 100, 30)
}

fn a_terminal_shows_takes_and_changes_its_size(host: &Host) {
    let mut terminal = on_terminal(host, "$RUN --rm -t $IMAGE c sh");
    terminal.types("tty; test -t 0 && test -t 1 && test -t 2 && echo ter''minal\n");
    terminal.shows("/dev/");
    terminal.shows("terminal");
    terminal.has_size(30, 100);
    terminal.resize(81, 25);
    terminal.has_size(25, 81);
    // The terminal's interrupt ends what runs, not the shell.
    terminal.types("sleep 1000\n");
    // Once it executes it is the foreground process group (tcsetpgrp(3)); before, the interrupt would be the shell's.
    host.until("pgrep -xf 'sleep 1000'");
    terminal.types("\x03");
    terminal.types("echo al''ive; exit 7\n");
    terminal.shows("alive");
    assert_eq!(terminal.ends(), 7);
}

fn an_exec_has_a_terminal_of_its_own(host: &Host) {
    host.sh("$RUN -d $IMAGE c sleep 1000").ok();
    let mut terminal = on_terminal(host, "ctr task exec -t --exec-id e c sh");
    terminal.has_size(30, 100);
    terminal.resize(60, 20);
    terminal.has_size(20, 60);
    terminal.types("exit 9\n");
    assert_eq!(terminal.ends(), 9);
    host.sh("ctr task rm -f c && ctr c rm c").ok();
}

fn a_task_is_attached_to_again(host: &Host) {
    assert_eq!(on_terminal(host, "$RUN -d -t $IMAGE c sh").ends(), 0);
    let mut first = on_terminal(host, "ctr task attach c");
    first.types("kept=va''lue; echo fir''st\n");
    first.shows("first");
    // Who goes away leaves the task as it is.
    host.sh("pkill -f '^ctr task attach c'").ok();
    first.ends();
    assert!(host.sh("ctr task ls").ok().contains("RUNNING"));
    let mut second = on_terminal(host, "ctr task attach c");
    second.types("echo got $kept\n");
    second.shows("got value");
    second.resize(70, 22);
    second.has_size(22, 70);
    second.types("exit 4\n");
    assert_eq!(second.ends(), 4);
    // `ctr task attach` removes the task that has ended.
    host.sh("ctr c rm c").ok();
}
