//! From a trapped call to its answer, or to what is to be done for it: one file per family of calls.
//!
//! Main types: [`decode`] takes a [`Call`] and the caller's [`Memory`] to a [`Decision`].
//!
//! Invariant: [`Answer::Continue`] stands only where every result that the kernel could give, for whatever the registers'
//! pointers name by then, is one that the container may have anyway. It never stands for a check that was made here.

mod api;
pub mod bpf;
mod mknod;
mod mount;
pub mod sysinfo;
#[cfg(test)]
mod tests;

use crate::act::Act;
use crate::filter::abi::Abi;
use crate::filter::trap::{Trapped, trapped_for};
use crate::notify::memory::Memory;
use crate::notify::{Answer, Call};
use bpf::Bpf;
use sysinfo::Layout;

/// What becomes of a trapped call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is answered at once.
    Answer(Answer),
    /// It is to be made on behalf.
    Act(Act),
    /// It is about device programs of the container's ([`crate::programs`]).
    Bpf(Box<Bpf>),
    /// sysinfo(2): the container's numbers are written to the caller's memory.
    Sysinfo {
        /// Where to.
        address: u64,
        /// In which form.
        layout: Layout,
    },
}

/// Decides on `call`, reading the caller's memory where it must.
pub fn decode(call: &Call, memory: &impl Memory) -> Decision {
    decode_for(Abi::HOST, call, memory)
}

/// [`decode`] on the kernel whose native ABI is `native`.
fn decode_for(native: Abi, call: &Call, memory: &impl Memory) -> Decision {
    // The filter asks of no other call; of one that it should not ask of the kernel knows better.
    let Some(trapped) = trapped_for(native, call.arch, call.nr) else { return Decision::Answer(Answer::Continue) };
    let registers = Registers::of(trapped, call);
    let decided = match trapped.name {
        "mount" => mount::mount(&registers, memory),
        "umount2" => mount::umount2(&registers, memory),
        "umount" => mount::umount(&registers, memory),
        "fsopen" => api::fsopen(&registers, memory),
        "open_tree" | "open_tree_attr" => api::open_tree(&registers, memory),
        "mount_setattr" => api::mount_setattr(&registers, memory),
        "mknod" => mknod::mknod(&registers, memory),
        "mknodat" => mknod::mknodat(&registers, memory),
        "bpf" => bpf::bpf(&registers, memory),
        "sysinfo" => Ok(sysinfo::sysinfo(&registers, trapped)),
        _ => Err(Answer::Continue),
    };
    decided.unwrap_or_else(Decision::Answer)
}

/// A decision, or the answer that cuts it short.
type Decided = Result<Decision, Answer>;

/// The arguments as the call's ABI passes them.
struct Registers([u64; 6]);

impl Registers {
    fn of(trapped: Trapped, call: &Call) -> Self {
        let mask = if trapped.wide { u64::MAX } else { u64::from(u32::MAX) };
        Self(call.args.map(|argument| argument & mask))
    }

    /// A pointer or a `long`.
    fn long(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// An `unsigned int`: the kernel looks at its lower 32 bits alone.
    fn word(&self, index: usize) -> u32 {
        self.long(index) as u32
    }

    /// An `int`.
    fn int(&self, index: usize) -> i32 {
        self.word(index).cast_signed()
    }
}
