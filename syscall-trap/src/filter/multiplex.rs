//! socketcall(2) and ipc(2): i386 calls whose first argument says which call is meant.
//!
//! A rule for `socket` must hold for socketcall(SYS_SOCKET, …) too. The arguments proper lie in memory there, which no
//! filter can read: conditions on the first argument are lost (its place holds the sub-call), those on others would
//! compare a pointer. libseccomp does the same.
//!
//! Invariant: a rule for a multiplexed call holds on both ways into the kernel where both exist.

use super::abi::Abi;

/// A call that carries others.
pub(super) struct Carrier {
    /// Its name.
    pub(super) name: &'static str,
    /// What its first argument is for the call meant.
    pub(super) selector: u64,
}

/// Sub-calls of socketcall(2) (linux/net.h), the first being 1.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// Sub-calls of ipc(2) (linux/ipc.h).
const IPC: [(&str, u64); 12] = [
    ("semop", 1),
    ("semget", 2),
    ("semctl", 3),
    ("semtimedop", 4),
    ("msgsnd", 11),
    ("msgrcv", 12),
    ("msgget", 13),
    ("msgctl", 14),
    ("shmat", 21),
    ("shmdt", 22),
    ("shmget", 23),
    ("shmctl", 24),
];

/// The call that carries `name` on `abi`, if any.
pub(super) fn carrier(abi: Abi, name: &str) -> Option<Carrier> {
    if abi != Abi::I386 {
        return None;
    }
    if let Some(selector) = (1..).zip(SOCKETCALL).find_map(|(selector, call)| (call == name).then_some(selector)) {
        return Some(Carrier { name: "socketcall", selector });
    }
    IPC.iter().find(|(call, _)| *call == name).map(|&(_, selector)| Carrier { name: "ipc", selector })
}
