use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The members of an object that this version does not know. They are kept and written back:
/// a newer version has put them there.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Unknown(pub(super) Map<String, Value>);

/// Their values may be secrets.
impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
