//! The body of gRPC requests.

use tonic::body::Body;

use super::{Backup, Replay, ReplayBody, rewrap::rewrap};

/// Messages are recorded as they were encoded, up to 64 KiB. A unary call is a stream of one
/// message, so one that is not larger is sent twice; and so is a stream of the client's that is
/// refused while all of what it has sent is still kept.
#[cfg_attr(docsrs, doc(cfg(feature = "tonic")))]
impl Replay for Body {
    fn backup(&mut self) -> Backup<Self> {
        // A `Status` that the messages fail with is found behind the recording's own error, and
        // stays what it is.
        rewrap::<_, ReplayBody<Self>>(self, Self::empty, Self::new)
    }
}
