//! process_vm_readv(2).

use std::io;

/// Reads the memory of thread `tid` at `address`; how many bytes, which are less than asked for where the rest is not mapped.
///
/// # Errors
/// EFAULT when not even the first byte can be read, ESRCH when the thread is gone, EPERM.
pub(crate) fn read(tid: u32, address: u64, into: &mut [u8]) -> io::Result<usize> {
    let tid = libc::pid_t::try_from(tid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // An address of the other process's, which is never followed here.
    let start = usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(start), iov_len: into.len() };
    // SAFETY: the kernel writes at most `iov_len` bytes to the one local buffer, which is borrowed; the remote address it
    // looks up in the other process's memory.
    let read = unsafe { libc::process_vm_readv(tid, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(read).map_err(|_| io::Error::last_os_error())
}
