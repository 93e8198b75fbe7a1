//! The picture: bars of ratios beside their goals, and of rows a second beside peers.

use std::fmt::Write;

use crate::result::Part;

const WIDTH: f64 = 860.0;
const LABELS: f64 = 330.0;
const BARS: f64 = 430.0;
const LINE: f64 = 24.0;
const HEAD: f64 = 40.0;

/// Colours that can be read on white and on black.
const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#7d8590}\
                     .head{font-weight:600}.own{fill:#3b82c4}.other{fill:#8b949e}\
                     .goal{stroke:#d4772c;stroke-width:3}.axis{stroke:#7d8590;stroke-width:1}";

/// A bar with what it is of.
struct Bar {
    label: String,
    value: f64,
    /// The value as told, beside the bar.
    told: String,
    goal: Option<f64>,
    own: bool,
}

/// A picture of all parts.
pub(crate) fn picture(parts: &[Part]) -> String {
    let groups = [
        (
            "Speed over that of the database alone (its floor is 1; the line is the goal)",
            ratios(parts),
        ),
        (
            "Beside other tools: rows a second, the same file",
            peers(parts),
        ),
    ];
    let mut body = String::new();
    let mut y = 0.0;
    for (head, bars) in groups {
        if !bars.is_empty() {
            y = group(&mut body, y, head, &bars);
        }
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>Speeds beside floors and peers</title>\n\
         <style>{STYLE}</style>\n{body}</svg>\n",
        height = y + 10.0
    )
}

/// Every ratio of the parts about stores.
fn ratios(parts: &[Part]) -> Vec<Bar> {
    parts
        .iter()
        .filter(|part| !matches!(part.name.as_str(), "peers" | "http"))
        .flat_map(|part| {
            part.ratios.iter().map(|ratio| Bar {
                label: format!("{}, {}", part.title, ratio.name),
                value: ratio.value,
                told: format!("{:.2}", ratio.value),
                goal: ratio.goal,
                own: true,
            })
        })
        .collect()
}

fn peers(parts: &[Part]) -> Vec<Bar> {
    parts
        .iter()
        .filter(|part| part.name == "peers")
        .flat_map(|part| &part.measurements)
        .map(|it| Bar {
            label: it.name.clone(),
            value: it.rows_per_second,
            told: format!("{:.0} thousand", it.rows_per_second / 1e3),
            goal: None,
            own: it.name.starts_with("Landfall"),
        })
        .collect()
}

/// Draws bars under a headline, and gives the height where they end.
fn group(body: &mut String, top: f64, head: &str, bars: &[Bar]) -> f64 {
    let longest = bars
        .iter()
        .flat_map(|bar| [Some(bar.value), bar.goal])
        .flatten()
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = BARS / longest;
    let _ = writeln!(
        body,
        "<text class=\"head\" x=\"10\" y=\"{:.0}\">{}</text>",
        top + 24.0,
        escaped(head)
    );
    let start = top + HEAD;
    for (index, bar) in (0_u16..).zip(bars) {
        let y = start + f64::from(index) * LINE;
        let length = (bar.value * scale).max(1.0);
        let class = if bar.own { "own" } else { "other" };
        let _ = writeln!(
            body,
            "<text x=\"{x:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{label}</text>\
             <rect class=\"{class}\" x=\"{LABELS:.0}\" y=\"{rect:.0}\" width=\"{length:.1}\" height=\"16\"/>",
            x = LABELS - 8.0,
            text = y + 13.0,
            label = escaped(&bar.label),
            rect = y,
        );
        if let Some(goal) = bar.goal {
            let x = LABELS + goal * scale;
            let _ = writeln!(
                body,
                "<line class=\"goal\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.0}\" y2=\"{:.0}\"/>",
                y - 2.0,
                y + 18.0
            );
        }
        let end = LABELS + length.max(bar.goal.unwrap_or_default() * scale) + 8.0;
        let _ = writeln!(
            body,
            "<text x=\"{end:.1}\" y=\"{:.0}\">{}</text>",
            y + 13.0,
            escaped(&bar.told)
        );
    }
    let end = (0_u16..)
        .zip(bars)
        .last()
        .map_or(start, |(index, _)| start + f64::from(index + 1) * LINE);
    let _ = writeln!(
        body,
        "<line class=\"axis\" x1=\"{LABELS:.0}\" x2=\"{LABELS:.0}\" y1=\"{:.0}\" y2=\"{:.0}\"/>",
        start - 4.0,
        end
    );
    end + 10.0
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
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

    #[test]
    fn bars_are_in_scale_with_their_goals() {
        let picture = picture(&[part("postgres")]);
        assert!(picture.contains("A &amp; B, first load"));
        // 0.5 of the longest, which is the goal.
        assert!(picture.contains("width=\"268.8\""), "{picture}");
        assert!(picture.contains("x1=\"760.0\""), "{picture}");
        assert_eq!(picture.matches("<rect").count(), 1);
    }

    #[test]
    fn peers_are_told_by_rows_a_second() {
        let picture = picture(&[part("peers")]);
        assert_eq!(picture.matches("class=\"other\"").count(), 1);
        assert!(picture.contains("1000 thousand"));
    }
}
