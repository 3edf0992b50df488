//! Draws what was measured last, as SVG. Nothing is measured here.

use std::{fs, io, path::Path};

use crate::{
    bars::{Bar, Chart},
    report::{Cell, Report},
};

/// Draws all charts whose figures there are, and says which.
pub(crate) fn draw() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/charts");
    fs::create_dir_all(&folder)?;
    for (name, chart) in CHARTS {
        let report = match Report::stored(name) {
            Ok(report) => report,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("{name}: not measured yet");
                continue;
            }
            Err(error) => return Err(error),
        };
        let path = folder.join(name).with_extension("svg");
        fs::write(&path, chart(&report).svg())?;
        println!("{name}: {}", path.display());
    }
    Ok(())
}

type Draw = fn(&Report) -> Chart;

const CHARTS: [(&str, Draw); 3] =
    [("hot_path", hot_path), ("stampede", stampede), ("replay", replay)];

fn hot_path(report: &Report) -> Chart {
    let requests = report.column("request").map(Cell::to_string);
    let contenders = report.column("contender").map(Cell::to_string);
    let ns = report.column("ns").map(Cell::number);
    let bars = requests.zip(contenders).zip(ns).map(|((request, contender), ns)| Bar {
        ours: is_ours(&contender),
        name: format!("{request}: {contender}"),
        value: ns,
    });
    Chart {
        title: "A token on a request".into(),
        subtitle: "ns over a service that answers at once; less is better".into(),
        bars: bars.collect(),
        target: None,
    }
}

fn stampede(report: &Report) -> Chart {
    let requests = report.column("requests").map(Cell::number);
    let contenders = report.column("contender").map(Cell::to_string);
    let ms = report.column("last answered (ms)").map(Cell::number);
    let bars = requests.zip(contenders).zip(ms).map(|((requests, contender), ms)| Bar {
        ours: is_ours(&contender),
        name: format!("{}k: {contender}", requests / 1e3),
        value: ms,
    });
    Chart {
        title: "A stampede on an expired token".into(),
        subtitle: "ms until the last request is answered; the refresh takes 50 ms".into(),
        bars: bars.collect(),
        target: None,
    }
}

fn replay(report: &Report) -> Chart {
    let bodies = report.column("body").map(Cell::to_string);
    let frames = report.column("frames").map(Cell::to_string);
    let caps = report.column("cap").map(Cell::to_string);
    let ratios = report.column("ratio on loopback").map(Cell::number);
    let bars = bodies.zip(frames).zip(caps).zip(ratios).map(|(((body, frame), cap), ratio)| Bar {
        ours: true,
        name: format!("{body} in {frame} frames, cap {cap}"),
        value: ratio,
    });
    Chart {
        title: "A recorded body".into(),
        subtitle: "throughput beside the bare body's; 1 is as fast".into(),
        bars: bars.collect(),
        target: Some(1.0),
    }
}

/// All others are what it is compared with.
fn is_ours(contender: &str) -> bool {
    contender.starts_with("RefreshLayer")
}
