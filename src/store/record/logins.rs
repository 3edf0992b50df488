use serde::{Deserialize, Serialize};

/// The logins and log-outs that led to what is stored: the ids of the last eight, newest last.
///
/// A process that saves a login or a log-out, and gets no answer from the store, has to find out
/// whether it was saved. If its id is in the stored history it was, and what is stored has
/// replaced it since: the process must not write it again, for that would undo a later log-out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct LoginHistory(Vec<String>);

/// How many logins are remembered. A process that is cut off from its store for more than these may
/// overwrite a newer login.
const KEPT: usize = 8;

impl LoginHistory {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one that happens now.
    pub(crate) fn add(&mut self, id: String) {
        self.0.push(id);
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
    }

    /// Whether the newest of `others` is among these: they came after it.
    pub(crate) fn include(&self, others: &Self) -> bool {
        others.0.last().is_some_and(|newest| self.0.contains(newest))
    }

    /// Makes the newest one come after `others`, which it replaces.
    pub(crate) fn come_after(&mut self, others: &Self) {
        if let Some(newest) = self.0.pop() {
            self.0.clone_from(&others.0);
            self.add(newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_are_kept_in_their_order() {
        let mut logins = LoginHistory::default();
        (0..KEPT + 2).for_each(|id| logins.add(id.to_string()));
        let expected: Vec<_> = (2..KEPT + 2).map(|id| id.to_string()).collect();
        assert_eq!(logins.0, expected);

        let mut ours = LoginHistory::default();
        assert!(!logins.include(&ours), "there was no login");
        ours.add("ours".to_owned());
        assert!(!logins.include(&ours));
        ours.come_after(&logins);
        assert!(ours.include(&logins) && !logins.include(&ours));
        assert_eq!(ours.0.len(), KEPT);
    }
}
