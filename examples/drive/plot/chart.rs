//! The axes, the latency between them, and above it the marks of what happened when.

use std::time::Duration;

use plotters::{
    chart::ChartBuilder,
    element::PathElement,
    prelude::{BindKeyPoints, IntoLogRange},
    style::{Color, FontStyle},
};

use super::{
    Area, Drawn, FAINT_INK, GRID, INK,
    axes::{Unit, label, logarithmic},
    text,
    thing::Thing,
};
use crate::timeline::{Answer, Column, History};

/// The marks have a lane each, so that none covers another or an answer.
const LANES: [(Thing, i32); 3] =
    [(Thing::Refresh, 114), (Thing::Refusal, 130), (Thing::Failure, 146)];
const TOP: u32 = 158;

pub(super) fn draw(area: &Area<'_>, history: &History) -> Drawn {
    let end = history.end().max(Duration::from_millis(1));
    let unit = Unit::of(end);
    let end = unit.count(end);
    let latencies = latencies(history);
    let [low, .., high] = latencies[..] else { unreachable!("two ticks at least") };
    let small = text(12.0, FontStyle::Normal, &INK);
    let mut chart = ChartBuilder::on(area)
        .margin_top(TOP)
        .margin_left(16)
        .margin_right(24)
        .margin_bottom(14)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..end, (low..high).log_scale().with_key_points(latencies))?;
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(GRID.mix(0.0))
        .axis_style(FAINT_INK)
        .label_style(small.clone())
        .axis_desc_style(text(13.0, FontStyle::Normal, &INK))
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .x_desc(format!("time since the start ({}){}", unit.name, grouping(history)))
        .y_desc("latency to the end of the answer (ms)")
        .draw()?;
    let pixel = |at: Duration, latency: Duration| {
        let latency = in_ms(latency).clamp(low, high);
        chart.plotting_area().map_coordinate(&(unit.count(at), latency))
    };

    let (_, rows) = chart.plotting_area().get_pixel_range();
    for (at, Column { marks, .. }) in history.over_time() {
        let (x, _) = pixel(at, Duration::ZERO);
        if marks.refreshes > 0 {
            // Into the chart, as it is there that one looks for what a refresh costs.
            let style = Thing::Refresh.style().color.mix(0.5);
            area.draw(&PathElement::new(vec![(x, LANES[0].1), (x, rows.end)], style))?;
        }
        let counts = [marks.refreshes, marks.refusals, marks.failures];
        for ((thing, y), _) in LANES.iter().zip(counts).filter(|(_, count)| *count > 0) {
            thing.draw(area, (x, *y))?;
        }
    }

    if history.is_empty() {
        let large = text(16.0, FontStyle::Normal, &FAINT_INK);
        return area.draw_text("no request was answered", &large, (400, 300));
    }
    if let Some(few) = &history.few {
        return few
            .iter()
            .try_for_each(|Answer { at, latency }| Thing::Answer.draw(area, pixel(*at, *latency)));
    }
    let columns: Vec<_> = history.over_time().collect();
    // A line does not cross a time in which nothing was answered.
    let stretches = columns.split(|(_, column)| column.latency.is_empty());
    for stretch in stretches.filter(|stretch| !stretch.is_empty()) {
        let at_quantile = |quantile| -> Vec<_> {
            let latency = |column: &Column| column.latency.value_at_quantile(quantile);
            let points = stretch
                .iter()
                .map(|(at, column)| pixel(*at, Duration::from_micros(latency(column))));
            points.collect()
        };
        at_quantile(1.0).into_iter().try_for_each(|at| Thing::Slowest.draw(area, at))?;
        Thing::P99.draw_line(area, at_quantile(0.99))?;
        Thing::Median.draw_line(area, at_quantile(0.5))?;
    }
    Ok(())
}

/// The ticks of the latency, in milliseconds.
fn latencies(history: &History) -> Vec<f64> {
    let answered = || history.columns.iter().map(|column| &column.latency);
    let answered = || answered().filter(|latency| !latency.is_empty());
    let low = answered().map(|latency| match history.few {
        Some(_) => latency.min(),
        None => latency.value_at_quantile(0.5),
    });
    let high = answered().map(|latency| latency.max()).max();
    let tick = |latency: Option<u64>| latency.map(|us| us.max(1) as f64 / 1000.0);
    logarithmic(tick(low.min()).unwrap_or(1.0), tick(high).unwrap_or(100.0))
}

fn grouping(history: &History) -> String {
    match history.few {
        Some(_) => String::new(),
        None => format!("; p50, p99 and slowest of every {:?}", history.width),
    }
}

fn in_ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
