//! A horizontal bar chart.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::report::Cell;

pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) bars: Vec<Bar>,
    /// A value to compare with, drawn across the bars.
    pub(crate) target: Option<f64>,
}

pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) ours: bool,
}

// Of Okabe and Ito's palette, which no kind of colour-blindness confuses. Their lightness differs
// too.
const OURS: RGBColor = RGBColor(0, 114, 178);
const OTHERS: RGBColor = RGBColor(153, 153, 153);
const MARK: RGBColor = RGBColor(213, 94, 0);
const TEXT: RGBColor = RGBColor(36, 41, 47);

const WIDTH: i32 = 760;
const MARGIN: i32 = 20;
/// The title and what the figures are.
const HEAD: i32 = 76;
const GAP: i32 = 8;
const ROW: i32 = 28;
const THICKNESS: i32 = 18;
/// What an average letter of a name takes, a little more than less.
const LETTER: i32 = 7;
/// Room for the figures, which stand below one another behind the longest bar.
const FIGURE: i32 = 56;

impl Chart {
    pub(crate) fn svg(&self) -> String {
        let mut svg = String::new();
        let size = (WIDTH as u32, (self.bottom() + MARGIN) as u32);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        self.draw(&area).expect("a string takes what is drawn");
        drop(area);
        svg
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn Error + '_>> {
        // Its own ground, so that it reads on a dark page as well.
        area.fill(&WHITE)?;
        area.draw(&text(&self.title, (MARGIN, 30), 22, HPos::Left))?;
        area.draw(&text(&self.subtitle, (MARGIN, 55), 16, HPos::Left))?;

        let longest = self.bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(0);
        let zero = MARGIN + LETTER * longest as i32 + GAP;
        let values = self.bars.iter().map(|bar| bar.value);
        let largest = values.chain(self.target).fold(f64::MIN_POSITIVE, f64::max);
        let scale = f64::from(WIDTH - MARGIN - FIGURE - zero) / largest;
        let end_of = |value: f64| zero + (value.max(0.0) * scale).round() as i32;

        for (bar, top) in self.bars.iter().zip((HEAD..).step_by(ROW as usize)) {
            let (middle, end) = (top + ROW / 2, end_of(bar.value));
            let corners = [(zero, middle - THICKNESS / 2), (end, middle + THICKNESS / 2)];
            let colour = if bar.ours { OURS } else { OTHERS };
            area.draw(&Rectangle::new(corners, colour.filled()))?;
            area.draw(&text(&bar.name, (zero - GAP, middle), 15, HPos::Right))?;
            let figure = Cell::from(bar.value).to_string();
            area.draw(&text(&figure, (WIDTH - MARGIN, middle), 15, HPos::Right))?;
        }
        if let Some(target) = self.target.map(end_of) {
            let line = [(target, HEAD), (target, self.bottom())];
            area.draw(&PathElement::new(line, MARK.stroke_width(2)))?;
        }
        area.present()?;
        Ok(())
    }

    fn bottom(&self) -> i32 {
        HEAD + ROW * self.bars.len() as i32
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn text(text: &str, at: (i32, i32), size: i32, side: HPos) -> Text<'_, (i32, i32), &str> {
    let style = ("sans-serif", size).into_font().color(&TEXT);
    Text::new(text, at, style.pos(Pos::new(side, VPos::Center)))
}
