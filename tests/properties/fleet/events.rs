//! What a session tells of itself, and in which order.

use futures::FutureExt;
use tower_refresh::{Event, Events};

use super::process::Violations;

pub(crate) struct Listener {
    name: usize,
    events: Events,
    hold: Violations,
    generation: u64,
    refused: Option<u64>,
    /// Something was told to be unsaved.
    unsaved: bool,
    save_failed: bool,
    pub(crate) rotations_lost: u64,
}

impl Listener {
    pub(crate) fn new(name: usize, events: Events, hold: Violations) -> Self {
        Self {
            name,
            events,
            hold,
            generation: 0,
            refused: None,
            unsaved: false,
            save_failed: false,
            rotations_lost: 0,
        }
    }

    /// Reads all there are, with the generation that the session has now.
    pub(crate) fn read(&mut self, now: u64) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            let what = self.wrong(&event, now);
            let name = self.name;
            self.hold.unless(what.is_none(), || format!("{name} tells {event:?}: {what:?}"));
        }
    }

    fn wrong(&mut self, event: &Event, now: u64) -> Option<&'static str> {
        match *event {
            Event::Refreshed { generation, .. } => {
                let known = std::mem::replace(&mut self.generation, generation);
                (generation < known || generation > now).then_some("generations only grow")
            }
            Event::Refused { generation, .. } => {
                let twice = self.refused.replace(generation) > Some(generation);
                (twice || generation < self.generation).then_some("it is replaced already")
            }
            Event::TokensSet | Event::LoggedOut => {
                (self.unsaved, self.save_failed) = (true, false);
                None
            }
            Event::SaveFailed { .. } => {
                self.unsaved = true;
                std::mem::replace(&mut self.save_failed, true).then_some("it is told already")
            }
            Event::Saved => {
                self.save_failed = false;
                let unsaved = std::mem::replace(&mut self.unsaved, false);
                (!unsaved).then_some("nothing was unsaved")
            }
            Event::RotationLost => {
                self.rotations_lost += 1;
                None
            }
            _ => None,
        }
    }
}
