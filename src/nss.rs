//! Keeps name lookups of a statically linked glibc within the binary.
//!
//! `getaddrinfo` and `getpwuid_r` load the modules that the host's `/etc/nsswitch.conf` names, and
//! with them the host's libc beside our own: where it names more than `files` and `dns` the
//! process dies, and no error is returned that could be handled (rust-lang/rust#100711). These
//! two modules are within a static glibc; told to use them alone, it loads nothing.

/// Restricts name lookups to `/etc/hosts` and DNS, and user lookups to `/etc/passwd`.
///
/// To be called before any thread is started. Does nothing in a dynamically linked binary.
#[cfg(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static"))]
#[expect(unsafe_code, reason = "glibc has no safe door to this setting")]
pub fn pin() {
    use std::ffi::{c_char, c_int};

    unsafe extern "C" {
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }

    for (database, services) in
        [(c"hosts", c"files dns"), (c"passwd", c"files"), (c"group", c"files")]
    {
        // SAFETY: both are NUL-terminated and live for ever; no other thread runs yet. A refusal
        // leaves the default in place, which is no worse than not having asked.
        let _accepted = unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// Restricts name lookups to `/etc/hosts` and DNS, and user lookups to `/etc/passwd`.
///
/// To be called before any thread is started. Does nothing in a dynamically linked binary.
#[cfg(not(all(target_os = "linux", target_env = "gnu", target_feature = "crt-static")))]
pub fn pin() {}
