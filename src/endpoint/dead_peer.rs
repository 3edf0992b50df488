//! When a connection to a token endpoint is given up because nothing comes back over it.
//!
//! The session waits for the answer to a call which may have spent a refresh token, for as long as
//! its connection stands: to present the token again meanwhile could end the login. A server that
//! loses power, or a firewall that forgets the connection, ends none: without the settings here
//! such a call would last until the session's last limit, and the server's grace period, within
//! which it would still answer the old token, would be over by then. A server that is alive and
//! only slow acknowledges every probe, and is not touched by this.

use std::time::Duration;

/// The request has been acknowledged and no answer comes: after this long the system asks whether
/// the peer is still there…
pub(super) const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(5);

/// …again after each of these…
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// …and so often until the connection is over.
pub(super) const KEEP_ALIVE_PROBES: u32 = 5;

/// How long the request itself may stay unacknowledged, which keep-alive does not look at: the
/// system would retransmit it for a quarter of an hour. Linux has such a limit, few others do.
/// Linux also ends an idle connection by it, in place of the number of probes.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
pub(super) const UNACKNOWLEDGED: Duration = Duration::from_secs(10);
