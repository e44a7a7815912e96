//! The kernel as the judge: calls that the trap filter traps, answered by a [`Supervisor`] in the same process.
//!
//! Every check runs in a process of its own (this binary again, with the check's name), because a program stays as long as its
//! thread. The thread that calls has the filter, the others have none. Needs root.

// clippy takes a test without the harness for a program.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};
use std::{fs, io, mem, ptr, thread};

use rustix::fs::{Mode, OFlags};
use syscall_trap::act::{Act, Outcome};
use syscall_trap::calls::sysinfo::Sysinfo;
use syscall_trap::supervisor::{Counts, Hands, Machine, Supervisor};
use syscall_trap::{filter, sys};

const CHECKS: &[(&str, fn())] = &[
    ("sysinfo", sysinfo),
    ("acts", acts),
    ("memory_that_is_not_there", memory_that_is_not_there),
    ("a_child_as_another_caller", a_child_as_another_caller),
    ("killed_callers", killed_callers),
    ("hands_that_panic", hands_that_panic),
    ("the_end", the_end),
    ("one_listener", one_listener),
    #[cfg(target_arch = "x86_64")]
    ("i386", i386::calls),
];

fn main() {
    let mut args = std::env::args().skip(1);
    match args.next() {
        Some(arg) if arg.starts_with("check=") => {
            let (_, check) = CHECKS.iter().find(|(known, _)| arg[6..] == **known).expect("a check");
            return check();
        }
        Some(arg) if arg == "mount-proc" => std::process::exit(mount(c"proc", c"/nowhere").err().map_or(0, errno)),
        _ => {}
    }
    if !fs::read_to_string("/proc/self/status").expect("procfs").contains("\nUid:\t0\t") {
        return println!("listen: skipped, needs root");
    }
    for (name, _) in CHECKS {
        if *name == "i386" && !fs::exists("/proc/sys/abi/vsyscall32").unwrap_or(false) {
            println!("{name}: skipped, this kernel has no i386 calls");
            continue;
        }
        let exe = std::env::current_exe().expect("this binary");
        let status = Command::new(exe).arg(format!("check={name}")).status().expect("a process");
        assert!(status.success(), "{name}: {status}");
        println!("{name}: ok");
    }
}

/// A machine that no host is.
struct Fake;

const MACHINE: Sysinfo = Sysinfo {
    uptime: 4711,
    loads: [65536, 2, 3],
    total_ram: 6 << 30,
    free_ram: 5 << 30,
    shared_ram: 4096,
    buffer_ram: 8192,
    total_swap: 1 << 20,
    free_swap: 1 << 19,
    processes: 42,
};

impl Machine for Fake {
    fn sysinfo(&self, _tid: u32) -> Sysinfo {
        MACHINE
    }
}

/// What is done on behalf here: nothing. It is noted with its caller, and answered as told, once the gate is open.
struct Noting {
    seen: Mutex<Vec<(u32, Act)>>,
    outcome: Outcome,
    gate: (Mutex<bool>, Condvar),
}

impl Noting {
    fn new(outcome: Outcome, open: bool) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), outcome, gate: (Mutex::new(open), Condvar::new()) })
    }

    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Hands for Noting {
    fn act(&self, _tid: u32, process: BorrowedFd<'_>, act: &Act, still: &dyn Fn() -> bool) -> Outcome {
        assert!(still(), "the caller waits");
        let status = rustix::fs::openat(process, "status", OFlags::RDONLY, Mode::empty()).expect("the caller's status");
        let status = io::read_to_string(fs::File::from(status)).expect("the caller's status");
        let tid = status.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok()).expect("its id");
        self.seen.lock().unwrap().push((tid, act.clone()));
        let _open = self.gate.1.wait_while(self.gate.0.lock().unwrap(), |open| !*open).unwrap();
        self.outcome
    }
}

/// Runs `work` in a thread whose calls are trapped.
fn trapped<T: Send + 'static>(supervisor: &Supervisor, work: impl FnOnce() -> T + Send + 'static) -> T {
    start(supervisor, work).join().expect("the caller")
}

fn start<T: Send + 'static>(
    supervisor: &Supervisor,
    work: impl FnOnce() -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let (listeners, made) = channel();
    let (go, served): (Sender<()>, Receiver<()>) = channel();
    let caller = thread::spawn(move || {
        listeners.send(sys::listen(&filter::trap().expect("a program")).expect("a listener")).unwrap();
        served.recv().unwrap();
        work()
    });
    supervisor.serve(made.recv().unwrap()).expect("served");
    go.send(()).unwrap();
    caller
}

fn supervisor(hands: Arc<dyn Hands>) -> Supervisor {
    Supervisor::new(Arc::new(Fake), hands)
}

fn errno(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(0)
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn ask() -> io::Result<libc::sysinfo> {
    // SAFETY: plain numbers.
    let mut info: libc::sysinfo = unsafe { mem::zeroed() };
    // SAFETY: the call writes the struct, which lives.
    check(unsafe { libc::sysinfo(&raw mut info) })?;
    Ok(info)
}

fn mount(kind: &CStr, target: &CStr) -> io::Result<()> {
    // SAFETY: three strings that live, and no data.
    check(unsafe { libc::mount(c"none".as_ptr(), target.as_ptr(), kind.as_ptr(), 0, ptr::null()) })
}

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "it takes for ever: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn sysinfo() {
    let supervisor = supervisor(Noting::new(Outcome::Continue, true));
    let told = trapped(&supervisor, || {
        // SAFETY: nothing is mapped there, and the kernel, or whoever stands in for it, says so.
        let nowhere = check(unsafe { libc::sysinfo(ptr::without_provenance_mut(8)) });
        assert_eq!(nowhere.map_err(errno), Err(libc::EFAULT));
        ask().expect("sysinfo")
    });
    assert_eq!((told.uptime, told.loads, told.totalram), (4711, [65536, 2, 3], 6 << 30));
    assert_eq!((told.freeswap, told.procs, told.mem_unit), (1 << 19, 42, 1));
    assert_eq!(supervisor.counts(), Counts { served: 1, continued: 0, refused: 1 });
    assert_ne!(ask().expect("sysinfo").uptime, 4711, "another thread has no filter");
}

fn acts() {
    let target = b"/nowhere".to_vec();
    for (outcome, answer) in [
        (Outcome::Done, Ok(())),
        (Outcome::Errno(libc::EXFULL), Err(libc::EXFULL)),
        (Outcome::Errno(0), Err(libc::EIO)),
        (Outcome::Continue, Err(libc::ENOENT)),
    ] {
        let hands = Noting::new(outcome, true);
        let supervisor = supervisor(hands.clone());
        let (tid, said) = trapped(&supervisor, || {
            // The kernel's own: no proc.
            assert_eq!(mount(c"tmpfs", c"/nowhere").map_err(errno), Err(libc::ENOENT));
            (rustix::thread::gettid(), mount(c"proc", c"/nowhere").map_err(errno))
        });
        assert_eq!(said, answer);
        let act = Act::Proc { target: target.clone(), flags: 0, data: Vec::new() };
        assert_eq!(*hands.seen.lock().unwrap(), [(tid.as_raw_nonzero().get().unsigned_abs(), act)]);
    }
}

fn memory_that_is_not_there() {
    let hands = Noting::new(Outcome::Done, true);
    let supervisor = supervisor(hands.clone());
    trapped(&supervisor, || {
        let long = std::ffi::CString::new(vec![b'x'; 5000]).unwrap();
        assert_eq!(mount(c"proc", &long).map_err(errno), Err(libc::ENAMETOOLONG));
        assert_eq!(mount(&long, c"/").map_err(errno), Err(libc::EINVAL));
        // SAFETY: a string that lives, and addresses at which nothing is mapped, which the callee says.
        let nowhere = |target, kind| unsafe { libc::mount(c"none".as_ptr(), target, kind, 0, ptr::null()) };
        let wild = ptr::without_provenance(16);
        assert_eq!(check(nowhere(wild, c"proc".as_ptr())).map_err(errno), Err(libc::EFAULT));
        assert_eq!(check(nowhere(c"/".as_ptr(), wild)).map_err(errno), Err(libc::EFAULT));
        // SAFETY: as above.
        assert_eq!(check(unsafe { libc::umount2(wild, 0) }).map_err(errno), Err(libc::EFAULT));
    });
    assert_eq!(hands.count(), 0, "nothing was done for what nobody said");
}

fn spawn() -> Child {
    Command::new(std::env::current_exe().unwrap()).arg("mount-proc").spawn().expect("a process")
}

fn a_child_as_another_caller() {
    let hands = Noting::new(Outcome::Errno(libc::EXDEV), true);
    let supervisor = supervisor(hands.clone());
    let (pid, status) = trapped(&supervisor, || {
        let mut child = spawn();
        (child.id(), child.wait().expect("its end"))
    });
    assert_eq!(status.code(), Some(libc::EXDEV));
    assert_eq!(hands.seen.lock().unwrap().iter().map(|(tid, _)| *tid).collect::<Vec<_>>(), [pid]);
}

fn killed_callers() {
    let hands = Noting::new(Outcome::Done, false);
    let supervisor = supervisor(hands.clone());
    let (gate, seen) = (hands.clone(), hands.clone());
    trapped(&supervisor, move || {
        // As many as there are threads for acts; then some that wait in the queue.
        let mut children: Vec<Child> = (0..4).map(|_| spawn()).collect();
        until("the acts", || seen.count() == 4);
        children.extend((0..3).map(|_| spawn()));
        let waits = |child: &Child| fs::read_to_string(format!("/proc/{}/syscall", child.id()));
        let mount = libc::SYS_mount.to_string();
        until("the queue", || {
            children.iter().all(|child| waits(child).is_ok_and(|call| call.split(' ').next() == Some(&mount)))
        });
        // One whose act is under way, and two that wait; one of the queue lives on.
        for at in [0, 4, 5] {
            children[at].kill().unwrap();
            children[at].wait().unwrap();
        }
        gate.open();
        for at in [1, 2, 3, 6] {
            assert!(children[at].wait().unwrap().success());
        }
        assert_eq!(ask().expect("it goes on").uptime, 4711);
    });
    assert_eq!(hands.count(), 5, "nothing was done for who was gone");
}

fn hands_that_panic() {
    struct Panicking;
    impl Hands for Panicking {
        fn act(&self, _: u32, _: BorrowedFd<'_>, _: &Act, _: &dyn Fn() -> bool) -> Outcome {
            panic!("as this check wants")
        }
    }
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if thread::current().name() != Some("traps-act") {
            say(info);
        }
    }));
    let supervisor = supervisor(Arc::new(Panicking));
    trapped(&supervisor, || {
        for _ in 0..9 {
            assert_eq!(mount(c"proc", c"/nowhere").map_err(errno), Err(libc::ENOENT));
        }
        ask().expect("it goes on");
    });
}

fn the_end() {
    let hands = Noting::new(Outcome::Done, false);
    let supervisor = supervisor(hands.clone());
    let (tell, told) = channel();
    let (go, goes) = channel::<()>();
    let caller = start(&supervisor, move || {
        tell.send(ask().is_ok()).unwrap();
        goes.recv().unwrap();
        [mount(c"proc", c"/nowhere").map_err(errno), ask().map(drop).map_err(errno)]
    });
    assert_eq!(told.recv(), Ok(true));
    supervisor.end();
    go.send(()).unwrap();
    assert_eq!(caller.join().unwrap(), [Err(libc::ENOSYS); 2]);
    assert_eq!(hands.count(), 0);
    // Threads have ended with it, or do so soon.
    until("the end of its threads", || fs::read_dir("/proc/self/task").unwrap().count() == 1);
}

fn one_listener() {
    let supervisor = supervisor(Noting::new(Outcome::Continue, true));
    let second = trapped(&supervisor, || sys::listen(&filter::trap().unwrap()).map(drop).map_err(errno));
    assert_eq!(second, Err(libc::EBUSY));
    // Another thread is another tree; each is served until it ends.
    for _ in 0..3 {
        assert_eq!(trapped(&supervisor, || ask().unwrap().uptime), 4711);
    }
    let listeners = || {
        let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
        links.filter(|link| link.to_string_lossy().contains("seccomp")).count()
    };
    until("the end of its listeners", || listeners() == 0);
}

/// Calls of 32-bit x86 from 64-bit code.
#[cfg(target_arch = "x86_64")]
mod i386 {
    use std::arch::asm;
    use std::ffi::CStr;
    use std::ptr;

    use super::{Act, Noting, Outcome, supervisor, trapped};

    const MOUNT: u32 = 21;
    const UMOUNT: u32 = 22;
    const SYSINFO: u32 = 116;

    /// A page below 4 GiB, as bytes.
    fn low() -> &'static mut [u8] {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        // SAFETY: a new mapping, which nobody else knows.
        let page = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: it is 4096 bytes long, readable, writable, and never unmapped.
        unsafe { std::slice::from_raw_parts_mut(page.cast(), 4096) }
    }

    /// The call `nr`, whose pointers name pages of [`low`], or nothing.
    fn call(nr: u32, args: [u32; 5]) -> i32 {
        let [first, second, third, fourth, fifth] = args;
        let ret;
        // SAFETY: the callee reads and writes the pages of the arguments alone; rbx is restored, the kernel clears r8 to r11.
        unsafe {
            asm!("push rbx", "mov ebx, {first:e}", "int 0x80", "pop rbx", first = in(reg) first,
                inlateout("eax") nr as i32 => ret, in("ecx") second, in("edx") third, in("esi") fourth, in("edi") fifth,
                out("r8") _, out("r9") _, out("r10") _, out("r11") _);
        }
        ret
    }

    fn address(bytes: &[u8]) -> u32 {
        u32::try_from(bytes.as_ptr().addr()).expect("below 4 GiB")
    }

    fn string(text: &CStr) -> u32 {
        let page = low();
        page[..text.count_bytes()].copy_from_slice(text.to_bytes());
        address(page)
    }

    pub(super) fn calls() {
        let hands = Noting::new(Outcome::Errno(libc::EXFULL), true);
        let supervisor = supervisor(hands.clone());
        trapped(&supervisor, || {
            let page = low();
            assert_eq!(call(SYSINFO, [address(page), 0, 0, 0, 0]), 0);
            let word = |at: usize| u32::from_ne_bytes(page[4 * at..4 * at + 4].try_into().unwrap());
            // 6 GiB take pages for a unit.
            assert_eq!((word(0), word(4), word(8), word(10), word(13)), (4711, 6 << 18, 256, 42, 4096));
            assert_eq!(call(SYSINFO, [8, 0, 0, 0, 0]), -libc::EFAULT);
            let (proc, target, options) = (string(c"proc"), string(c"/nowhere"), string(c"hidepid=2"));
            assert_eq!(call(MOUNT, [proc, target, proc, 0xc0ed_0000, options]), -libc::EXFULL);
            assert_eq!(call(MOUNT, [proc, target, string(c"tmpfs"), 0, 0]), -libc::ENOENT);
            assert_eq!(call(UMOUNT, [target, 0, 0, 0, 0]), -libc::EXFULL);
        });
        let target = b"/nowhere".to_vec();
        let acts: Vec<Act> = hands.seen.lock().unwrap().iter().map(|(_, act)| act.clone()).collect();
        let proc = Act::Proc { target: target.clone(), flags: 0, data: b"hidepid=2".to_vec() };
        assert_eq!(acts, [proc, Act::Umount { target, flags: 0 }]);
    }
}
