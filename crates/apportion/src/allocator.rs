//! Where memory comes from.
#![expect(unsafe_code, reason = "the allocator's options are functions of C, and the crate has no safe ones for them")]

use std::ffi::{c_int, c_long};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` in mimalloc's list of options.
const PURGE_DELAY: c_int = 15;
/// After how long memory that nobody uses goes back to the system. The allocator's own second keeps whatever large answers
/// and merges threw away in that second; what is used again within a few milliseconds need not go and come back.
const PURGE_DELAY_MS: c_long = 10;

unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// Has the process take little memory: what nobody uses is given back soon, and what somebody uses comes in small pages. Of
/// a huge page all 2 MiB are there once one byte is, which took a quarter of the memory of an idle server.
///
/// `MIMALLOC_PURGE_DELAY` and `MIMALLOC_ALLOW_THP` may say otherwise. Call it before there are threads.
pub fn set_up() {
    // SAFETY: both arguments are plain numbers, an unknown option is ignored, and no other thread reads options yet.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
    if std::env::var_os("MIMALLOC_ALLOW_THP").is_none() {
        huge_pages::disable();
    }
}

/// The allocator can do this itself, but only if the environment says so.
mod huge_pages {
    use std::ffi::{c_int, c_ulong};

    /// `PR_SET_THP_DISABLE` of Linux.
    const DISABLE: c_int = 41;

    unsafe extern "C" {
        pub fn prctl(option: c_int, second: c_ulong, third: c_ulong, fourth: c_ulong, fifth: c_ulong) -> c_int;
    }

    pub fn disable() {
        // SAFETY: the option takes one number and four zeros; a kernel that does not know it changes nothing.
        unsafe { prctl(DISABLE, 1, 0, 0, 0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PR_GET_THP_DISABLE` of Linux.
    const ARE_HUGE_PAGES_DISABLED: c_int = 42;

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    fn delay_ms() -> c_long {
        // SAFETY: reading an option by its number has no conditions.
        unsafe { mi_option_get(PURGE_DELAY) }
    }

    #[test]
    fn the_option_with_this_number_is_the_delay() {
        assert_eq!(
            delay_ms(),
            1000,
            "mimalloc's own default; another number here is another option or another release"
        );
        set_up();
        assert_eq!(delay_ms(), PURGE_DELAY_MS);
    }

    #[test]
    fn huge_pages_are_off() {
        set_up();
        // SAFETY: the option takes four zeros.
        assert_eq!(unsafe { huge_pages::prctl(ARE_HUGE_PAGES_DISABLED, 0, 0, 0, 0) }, 1);
    }
}
