//! What the picture shows, in colours that the colour-blind can tell apart (those of Okabe and
//! Ito), and each in a shape of its own.

use plotters::{
    element::{Circle, Cross, PathElement, Rectangle, TriangleMarker},
    style::{Color, RGBColor, ShapeStyle},
};

use super::{Area, Drawn, FAINT_INK, INK};

const BLUE: RGBColor = RGBColor(0, 114, 178);
const SKY: RGBColor = RGBColor(86, 180, 233);
const GREEN: RGBColor = RGBColor(0, 158, 115);
const VERMILLION: RGBColor = RGBColor(213, 94, 0);

#[derive(Clone, Copy)]
pub(super) enum Thing {
    Answer,
    Median,
    P99,
    Slowest,
    Refresh,
    Refusal,
    Failure,
}

impl Thing {
    pub(super) fn style(self) -> ShapeStyle {
        match self {
            Self::Answer => BLUE.mix(0.6).filled(),
            Self::Median => BLUE.stroke_width(2),
            Self::P99 => SKY.stroke_width(2),
            Self::Slowest => FAINT_INK.mix(0.7).filled(),
            Self::Refresh => GREEN.filled(),
            Self::Refusal => VERMILLION.stroke_width(2),
            Self::Failure => INK.filled(),
        }
    }

    /// One of it, with its middle at a pixel; of a line, a piece.
    pub(super) fn draw(self, area: &Area<'_>, (x, y): (i32, i32)) -> Drawn {
        let style = self.style();
        match self {
            Self::Answer | Self::Slowest => area.draw(&Circle::new((x, y), 2, style)),
            Self::Median | Self::P99 => self.draw_line(area, vec![(x - 8, y), (x + 8, y)]),
            Self::Refresh => area.draw(&TriangleMarker::new((x, y), 6, style)),
            Self::Refusal => area.draw(&Cross::new((x, y), 4, style)),
            Self::Failure => area.draw(&Rectangle::new([(x - 4, y - 4), (x + 4, y + 4)], style)),
        }
    }

    pub(super) fn draw_line(self, area: &Area<'_>, mut points: Vec<(i32, i32)>) -> Drawn {
        // A single point has no length, and would not be seen.
        if let [(x, y)] = points[..] {
            points = vec![(x - 3, y), (x + 3, y)];
        }
        area.draw(&PathElement::new(points, self.style()))
    }
}
