//! What was run, how it went, and what the shapes below mean.

use indicatif::HumanCount;
use plotters::style::FontStyle;

use super::{Area, Drawn, FAINT_INK, INK, text, thing::Thing};
use crate::timeline::History;

const LEFT: i32 = 24;
/// More letters than these run out of the picture.
const TITLE_LETTERS: usize = 72;
const SUBTITLE_LETTERS: usize = 130;

pub(super) fn draw(area: &Area<'_>, title: &str, subtitle: &str, history: &History) -> Drawn {
    let (bold, plain) =
        (text(19.0, FontStyle::Bold, &INK), text(13.0, FontStyle::Normal, &FAINT_INK));
    area.draw_text(&shortened(title, TITLE_LETTERS), &bold, (LEFT, 20))?;
    area.draw_text(&shortened(subtitle, SUBTITLE_LETTERS), &plain, (LEFT, 47))?;
    let mut x = LEFT;
    for (thing, meaning) in legend(history) {
        thing.draw(area, (x + 8, 84))?;
        area.draw_text(&meaning, &text(13.0, FontStyle::Normal, &INK), (x + 22, 77))?;
        // No font is at hand to measure with; this is what a letter takes in most, and a gap.
        x += 22 + meaning.chars().count() as i32 * 7 + 20;
    }
    Ok(())
}

fn legend(history: &History) -> Vec<(Thing, String)> {
    let marks = history.total();
    let mut legend = match &history.few {
        Some(_) => vec![(Thing::Answer, "an answer".to_owned())],
        None => vec![
            (Thing::Slowest, "slowest".to_owned()),
            (Thing::P99, "p99".to_owned()),
            (Thing::Median, "p50".to_owned()),
        ],
    };
    legend.push((Thing::Refresh, counted(marks.refreshes, "refresh", "refreshes")));
    legend.push((Thing::Refusal, counted(marks.refusals, "refusal (401)", "refusals (401)")));
    if marks.failures > 0 {
        legend.push((Thing::Failure, counted(marks.failures, "failed request", "failed requests")));
    }
    legend
}

fn counted(count: u64, one: &str, more: &str) -> String {
    format!("{} {}", HumanCount(count), if count == 1 { one } else { more })
}

fn shortened(text: &str, letters: usize) -> String {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
