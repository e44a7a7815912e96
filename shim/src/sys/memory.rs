//! malloc(3) for a process of which a host may have a thousand: small, at the price of some speed that it does not need.

/// One heap for all threads (`M_ARENA_MAX`, mallopt(3)) instead of one each, of which every page stays touched.
pub(crate) fn one_arena() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt takes two numbers; one that it does not know it leaves alone.
    let _known = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

/// Gives the kernel back what is free in the heap (malloc_trim(3)). Some ten microseconds.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number and touches free memory alone.
    let _trimmed = unsafe { libc::malloc_trim(0) };
}
