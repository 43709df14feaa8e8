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

/// Has unused memory given back soon, unless `MIMALLOC_PURGE_DELAY` says otherwise. Call it before there are threads.
pub fn give_back_soon() {
    // SAFETY: both arguments are plain numbers, an unknown option is ignored, and no other thread reads options yet.
    unsafe { mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        give_back_soon();
        assert_eq!(delay_ms(), PURGE_DELAY_MS);
    }
}
