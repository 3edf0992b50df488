use serde::{Deserialize, Serialize};

/// The logins and log-outs that led to what is stored: the names of the last few, newest last.
///
/// Whoever decided something here and never heard whether it was saved finds it among these if it
/// was, whatever others have made of it since, and does not put it in their place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Decisions(Vec<String>);

/// Nobody is cut off from a store for so many logins.
const KEPT: usize = 8;

impl Decisions {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one that was made now.
    pub(crate) fn add(&mut self, name: String) {
        self.0.push(name);
        let over = self.0.len().saturating_sub(KEPT);
        self.0.drain(..over);
    }

    /// Whether these came of the newest of `others`.
    pub(crate) fn include(&self, others: &Self) -> bool {
        others.0.last().is_some_and(|newest| self.0.contains(newest))
    }

    /// Makes the newest one come after `others`, which it is to take the place of.
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
        let mut decisions = Decisions::default();
        (0..KEPT + 2).for_each(|name| decisions.add(name.to_string()));
        let expected: Vec<_> = (2..KEPT + 2).map(|name| name.to_string()).collect();
        assert_eq!(decisions.0, expected);

        let mut ours = Decisions::default();
        assert!(!decisions.include(&ours), "nothing was decided");
        ours.add("ours".to_owned());
        assert!(!decisions.include(&ours));
        ours.come_after(&decisions);
        assert!(ours.include(&decisions) && !decisions.include(&ours));
        assert_eq!(ours.0.len(), KEPT);
    }
}
