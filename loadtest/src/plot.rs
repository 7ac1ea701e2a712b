//! The course of a run as a picture.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::{
    BLACK, BLUE, ChartBuilder, GREEN, IntoDrawingArea, IntoFont, LineSeries, MAGENTA, PathElement, RED,
    RGBColor, SVGBackend, TextStyle, WHITE,
};
use plotters::style::Color;

/// A line: what it is about, and its points from left to right.
pub struct Line {
    /// As the legend has it.
    pub name: &'static str,
    /// Seconds since the start, and the number then.
    pub points: Vec<(f64, f64)>,
}

/// Width and height in pixels: fits the column of a page.
const SIZE: (u32, u32) = (900, 420);
const COLOURS: [RGBColor; 4] = [BLUE, RED, GREEN, MAGENTA];

/// Writes an SVG file with these lines.
pub fn write(file: &Path, title: &str, lines: &[Line]) -> Result<()> {
    draw(file, title, lines).map_err(|error| anyhow!("cannot draw {}: {error}", file.display()))
}

fn draw(file: &Path, title: &str, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let right = points().map(|point| point.0).fold(1.0, f64::max);
    let top = points().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, TextStyle::from(("sans-serif", 16).into_font()))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    chart.configure_mesh().x_desc("seconds").y_desc("pods").light_line_style(WHITE).draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?
            .label(line.name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_title_and_a_path_for_each_line() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let line = |name| Line { name, points: vec![(0.0, 0.0), (1.0, 10.0), (2.0, 40.0)] };
        write(file.path(), "a run", &[line("bound"), line("running")]).expect("it is drawn");
        let text = std::fs::read_to_string(file.path()).expect("it is there");
        for word in ["a run", "bound", "running", "<polyline"] {
            assert!(text.contains(word), "no {word} in {text}");
        }
    }
}
