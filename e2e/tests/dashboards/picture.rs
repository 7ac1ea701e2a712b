//! A dashboard as a picture: its panels in two columns, with what their queries gave.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, DrawingArea, IntoDrawingArea, IntoFont, LineSeries, PathElement, RGBColor, SVGBackend,
    SeriesLabelPosition, TextStyle, WHITE,
};
use plotters::style::Color;

use crate::board::{Board, Panel};
use crate::prometheus::Prometheus;

/// Pixels of one panel.
const PANEL: (u32, u32) = (460, 190);
/// Pixels above them for the title.
const TITLE: u32 = 30;
static COLOURS: [RGBColor; 8] = [
    RGBColor(31, 119, 180),
    RGBColor(255, 127, 14),
    RGBColor(44, 160, 44),
    RGBColor(214, 39, 40),
    RGBColor(148, 103, 189),
    RGBColor(140, 86, 75),
    RGBColor(227, 119, 194),
    RGBColor(23, 190, 207),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What a query gave: the values of its labels, and its points from left to right.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws what a dashboard showed over the last while into `<folder>/<uid>.svg`.
pub fn draw(folder: &Path, board: &Board, prometheus: &Prometheus, while_: Duration) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("{}.svg", board.uid));
    let rows = board.panels.len().div_ceil(2);
    let size = (PANEL.0 * 2, PANEL.1 * rows as u32 + TITLE);
    let root = SVGBackend::new(&file, size).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", file.display());
    root.fill(&WHITE).map_err(|error| failed(&error))?;
    let area = root.titled(&board.title, ("sans-serif", 18)).map_err(|error| failed(&error))?;
    for (panel, area) in board.panels.iter().zip(area.split_evenly((rows, 2))) {
        let mut lines = Vec::new();
        for target in &panel.targets {
            for series in prometheus.over(&target.query, while_)? {
                let names: Vec<&str> = series.metric.values().map(String::as_str).collect();
                lines.push(Line { name: names.join(" "), points: points(&series.values) });
            }
        }
        draw_panel(&area, panel, &lines).map_err(|error| failed(&error))?;
    }
    root.present().map_err(|error| failed(&error))
}

/// Seconds since the first point, and the number; what is no number is left out.
fn points(values: &[(f64, String)]) -> Vec<(f64, f64)> {
    let first = values.first().map_or(0.0, |value| value.0);
    let numbers = values.iter().filter_map(|(time, text)| Some((time - first, text.parse::<f64>().ok()?)));
    numbers.filter(|(_, number)| number.is_finite()).collect()
}

fn draw_panel(area: &Area<'_>, panel: &Panel, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1).fold(0.0, f64::max);
    let top = if top > 0.0 { top * 1.1 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, TextStyle::from(("sans-serif", 12).into_font()))
        .margin(6)
        .x_label_area_size(18)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().x_labels(6).y_labels(5).light_line_style(WHITE).draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let drawn =
            chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(1)))?;
        if !line.name.is_empty() {
            drawn.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 8, y)], *colour));
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font(("sans-serif", 9))
        .legend_area_size(12)
        .background_style(WHITE.mix(0.7))
        .draw()?;
    Ok(())
}
