//! What a test over many connections needs of the system.

/// Room for many connections at once: some systems give a program 256 file descriptors, and each
/// request over HTTP/1 takes two.
pub(crate) fn for_many() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = maximum.map_or(4096, |most| most.min(4096));
        if current.is_some_and(|current| current < wanted) {
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum });
        }
    }
}
