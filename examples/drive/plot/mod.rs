//! A picture of the run: latency over time, with the refreshes and the refusals in it.

mod axes;
mod chart;
mod file;
mod header;
mod thing;

use std::io;

use plotters::{
    backend::SVGBackend,
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    style::{FontStyle, IntoTextStyle, RGBColor, TextStyle},
};

pub(crate) use self::file::PlotFile;
use crate::timeline::History;

const SIZE: (u32, u32) = (960, 540);

const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(36, 41, 47);
const FAINT_INK: RGBColor = RGBColor(87, 96, 106);
const GRID: RGBColor = RGBColor(225, 228, 232);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

/// An SVG document whose size does not grow with the length of the run.
pub(crate) fn draw(title: &str, subtitle: &str, history: &History) -> String {
    let mut svg = String::new();
    let drawn = draw_into(&mut svg, title, subtitle, history);
    drawn.expect("writing into a string cannot fail, and the picture fits its canvas");
    svg
}

fn draw_into(svg: &mut String, title: &str, subtitle: &str, history: &History) -> Drawn {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    // Without a background, a page in dark mode would show through.
    area.fill(&PAPER)?;
    header::draw(&area, title, subtitle, history)?;
    chart::draw(&area, history)?;
    area.present()
}

fn text(pixels: f64, style: FontStyle, color: &'static RGBColor) -> TextStyle<'static> {
    // What the backend writes as the size is smaller by this factor.
    ("sans-serif", pixels * 1.24, style).into_text_style(&SIZE).color(color)
}
