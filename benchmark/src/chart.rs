//! The chart: ratios with their goals, and rows per second beside other tools.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::result::Part;

const WIDTH: u32 = 980;
const LABEL_WIDTH: u32 = 440;
const BAR_HEIGHT: u32 = 24;
const CAPTION_HEIGHT: u32 = 50;
/// Space to the right of the longest bar for its value.
const VALUE_SPACE: f64 = 1.25;

/// Colours that are legible on white and on black.
const TEXT: RGBColor = RGBColor(0x7d, 0x85, 0x90);
const LANDFALL: RGBColor = RGBColor(0x3b, 0x82, 0xc4);
const OTHER: RGBColor = RGBColor(0x8b, 0x94, 0x9e);
const GOAL: RGBColor = RGBColor(0xd4, 0x77, 0x2c);

struct Bar {
    label: String,
    value: f64,
    /// The formatted value.
    text: String,
    goal: Option<f64>,
    color: RGBColor,
}

/// Draws the chart of all parts and returns it as SVG.
pub(crate) fn svg(parts: &[Part]) -> Result<String> {
    let groups = [
        (
            "Speed relative to the database alone (1 is its speed; the line is the goal)",
            ratios(parts),
        ),
        (
            "Rows per second beside other tools, same file",
            peers(parts),
        ),
    ];
    let groups: Vec<_> = groups
        .into_iter()
        .filter(|(_, bars)| !bars.is_empty())
        .map(|(caption, bars)| {
            let count = u32::try_from(bars.len())?;
            Ok((caption, bars, CAPTION_HEIGHT + count * BAR_HEIGHT))
        })
        .collect::<Result<_>>()?;
    let height = groups.iter().map(|(_, _, height)| height).sum();
    let mut svg = String::new();
    {
        let mut rest = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        for (caption, bars, height) in &groups {
            let (area, below) = rest.split_vertically(*height);
            draw(&area, caption, bars)?;
            rest = below;
        }
        rest.present()?;
    }
    Ok(svg)
}

/// Returns a bar for every ratio of the parts about stores.
fn ratios(parts: &[Part]) -> Vec<Bar> {
    parts
        .iter()
        .filter(|part| !matches!(part.name.as_str(), "peers" | "http" | "sources"))
        .flat_map(|part| {
            part.ratios.iter().map(|ratio| Bar {
                label: format!("{}, {}", part.title, ratio.name),
                value: ratio.value,
                text: format!("{:.2}", ratio.value),
                goal: ratio.goal,
                color: LANDFALL,
            })
        })
        .collect()
}

/// Returns a bar for every tool.
fn peers(parts: &[Part]) -> Vec<Bar> {
    parts
        .iter()
        .filter(|part| part.name == "peers")
        .flat_map(|part| &part.measurements)
        .map(|it| Bar {
            label: it.name.clone(),
            value: it.rows_per_second,
            text: format!("{:.0} thousand", it.rows_per_second / 1e3),
            goal: None,
            color: if it.name.starts_with("Landfall") {
                LANDFALL
            } else {
                OTHER
            },
        })
        .collect()
}

/// Draws horizontal bars, the first one at the top.
fn draw(area: &DrawingArea<SVGBackend<'_>, Shift>, caption: &str, bars: &[Bar]) -> Result<()> {
    let longest = bars
        .iter()
        .flat_map(|bar| [Some(bar.value), bar.goal])
        .flatten()
        .fold(f64::MIN_POSITIVE, f64::max);
    let count = i32::try_from(bars.len())?;
    let font = ("sans-serif", 13).into_font().color(&TEXT);
    let bold = ("sans-serif", 14, FontStyle::Bold).into_font().color(&TEXT);
    let mut chart = ChartBuilder::on(area)
        .margin(8)
        .caption(caption, bold)
        .y_label_area_size(LABEL_WIDTH)
        .build_cartesian_2d(0.0..longest * VALUE_SPACE, (0..count).into_segmented())?;
    // Values increase upwards, so the bars are drawn from the last one.
    let rows: Vec<_> = (0..count).zip(bars.iter().rev()).collect();
    let label = |segment: &SegmentValue<i32>| match segment {
        SegmentValue::CenterOf(row) => rows
            .iter()
            .find(|(index, _)| index == row)
            .map_or_else(String::new, |(_, bar)| bar.label.clone()),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_x_axis()
        .axis_style(TEXT)
        .y_labels(bars.len() + 1)
        .y_label_formatter(&label)
        .y_label_style(font.clone())
        .draw()?;
    for (row, bar) in &rows {
        let bottom = SegmentValue::Exact(*row);
        let top = SegmentValue::Exact(row + 1);
        let mut rectangle = Rectangle::new(
            [(0.0, bottom.clone()), (bar.value, top.clone())],
            bar.color.filled(),
        );
        rectangle.set_margin(4, 4, 0, 0);
        chart.draw_series([rectangle])?;
        if let Some(goal) = bar.goal {
            let line = [(goal, bottom), (goal, top)];
            chart.draw_series([PathElement::new(line, GOAL.stroke_width(3))])?;
        }
        let end = bar.goal.map_or(bar.value, |goal| goal.max(bar.value));
        let text = font.clone().pos(Pos::new(HPos::Left, VPos::Center));
        chart.draw_series([EmptyElement::at((end, SegmentValue::CenterOf(*row)))
            + Text::new(bar.text.clone(), (8, 0), text)])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Run;

    fn part(name: &str) -> Part {
        let mut part = Part {
            name: name.to_owned(),
            title: "A & B".to_owned(),
            ..Part::default()
        };
        for (name, seconds) in [("Landfall", 2.0), ("other", 1.0)] {
            let run = Run {
                seconds,
                ..Run::default()
            };
            part.add(name, "", 1_000_000, run);
        }
        part.compare("first load", "Landfall", &["other"], Some(0.8));
        part
    }

    fn count(svg: &str, element: &str, color: &str) -> usize {
        svg.lines()
            .filter(|line| line.starts_with(element) && line.to_lowercase().contains(color))
            .count()
    }

    #[test]
    fn a_ratio_has_a_bar_a_goal_and_a_label() {
        let svg = svg(&[part("postgres")]).unwrap();
        assert!(svg.contains("A &amp; B, first load"), "{svg}");
        assert!(svg.contains("0.50"), "{svg}");
        assert_eq!(count(&svg, "<rect", "#3b82c4"), 1, "{svg}");
        assert_eq!(count(&svg, "<polyline", "#d4772c"), 1, "{svg}");
    }

    #[test]
    fn other_tools_have_bars_of_rows_per_second() {
        let svg = svg(&[part("peers")]).unwrap();
        assert_eq!(count(&svg, "<rect", "#8b949e"), 1, "{svg}");
        assert!(svg.contains("1000 thousand"), "{svg}");
    }
}
