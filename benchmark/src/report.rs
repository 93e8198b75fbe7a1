//! Writes the docs from the JSON of the parts.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::chart;
use crate::result::{Measurement, Part, Run, median};

/// The order of the parts in the docs.
const ORDER: [&str; 12] = [
    "postgres",
    "mariadb",
    "sqlite",
    "mongodb",
    "both",
    "peers",
    "sources",
    "destinations",
    "line",
    "boundaries",
    "functions",
    "http",
];

/// Writes `benchmark.md` and `benchmark.svg` from the parts measured so far.
pub(crate) fn write(results: &Path, docs: &Path) -> Result<()> {
    let mut parts = Vec::new();
    for name in ORDER {
        let path = results.join(format!("{name}.json"));
        if !path.exists() {
            continue;
        }
        let context = || format!("cannot read {}", path.display());
        let text = fs::read_to_string(&path).with_context(context)?;
        parts.push(serde_json::from_str::<Part>(&text).with_context(context)?);
    }
    if parts.is_empty() {
        return Ok(());
    }
    fs::create_dir_all(docs).with_context(|| format!("cannot make {}", docs.display()))?;
    for (name, content) in [
        ("benchmark.md", markdown(&parts)),
        ("benchmark.svg", chart::svg(&parts)?),
    ] {
        let path = docs.join(name);
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Returns the results of a part in a few lines.
pub(crate) fn summary(part: &Part) -> String {
    let mut lines = vec![part.title.clone()];
    for it in &part.measurements {
        lines.push(format!("  {}: {:.2} s", it.name, it.median_seconds));
    }
    for it in &part.loads {
        let got = it.median;
        lines.push(format!(
            "  {}, {} at once: {:.0} requests/s, p50 {:.2} ms, p99 {:.2} ms",
            it.name, it.connections, got.requests_per_second, got.p50_ms, got.p99_ms
        ));
    }
    for it in &part.ratios {
        let goal = it
            .goal
            .map_or_else(String::new, |goal| format!(" (goal {goal:.2})"));
        lines.push(format!(
            "  {}, {}: {:.2}{goal} of {}",
            it.of,
            it.name,
            it.value,
            it.over.join(" + ")
        ));
    }
    for it in &part.figures {
        lines.push(format!("  {}: {} {}", it.name, figure(it.value), it.unit));
    }
    for it in &part.missing {
        lines.push(format!("  NOT MEASURED: {}: {}", it.name, it.why));
    }
    lines.join("\n")
}

fn markdown(parts: &[Part]) -> String {
    let mut text = String::from(
        "# Benchmark\n\nMade by `cargo benchmark` from what it measured; not written by hand. \
         What was done is said beside each number.\n\n![Speeds beside floors and peers](benchmark.svg)\n",
    );
    for part in parts {
        text += &section(part);
    }
    text
}

fn section(part: &Part) -> String {
    let mut text = format!("\n## {}\n\n", part.title);
    let machine = &part.machine;
    let _ = writeln!(
        text,
        "`cargo benchmark {}`, {}: {} cores of {}, {:.0} GiB, Linux {}.{}",
        part.name,
        part.measured_at,
        machine.cores,
        machine.processor,
        machine.memory_gib,
        machine.kernel,
        if part.quick {
            " **With `--quick`: a look, nothing to compare.**"
        } else {
            ""
        }
    );
    let versions: Vec<_> = part
        .versions
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    if !versions.is_empty() {
        let _ = writeln!(text, "{}.", versions.join(", "));
    }
    text += &ratios(part);
    text += &measurements(part);
    text += &loads(part);
    text += &profile(part);
    text += &figures(part);
    if !part.missing.is_empty() {
        let rows = part
            .missing
            .iter()
            .map(|it| vec![it.name.clone(), it.why.clone()]);
        text += &table(&["not measured", "why"], rows);
    }
    text
}

fn ratios(part: &Part) -> String {
    let rows = part.ratios.iter().map(|ratio| {
        let (goal, met) = match ratio.goal {
            None => (String::new(), ""),
            Some(goal) if ratio.value >= goal => (format!("{goal:.2}"), "yes"),
            Some(goal) => (format!("{goal:.2}"), "no"),
        };
        vec![
            ratio.name.clone(),
            ratio.of.clone(),
            ratio.over.join(", then "),
            format!("**{:.2}**", ratio.value),
            goal,
            met.to_owned(),
            ratio
                .over_prepared
                .map_or_else(String::new, |value| format!("{value:.2}")),
        ]
    });
    let head = [
        "",
        "speed of",
        "over that of",
        "ratio",
        "goal",
        "met",
        "over floors with their rows ready in memory",
    ];
    table(&head, rows)
}

fn measurements(part: &Part) -> String {
    let rows = part.measurements.iter().map(|it| {
        let runs: Vec<_> = it.runs.iter().map(|run| seconds(run.seconds)).collect();
        let preparing = middle(it, |run| run.preparing_seconds);
        let put = middle(it, |run| run.put_seconds);
        vec![
            it.name.clone(),
            it.rows.to_string(),
            format!("**{}**", seconds(it.median_seconds)),
            format!("{:.0}", it.rows_per_second / 1e3),
            preparing.or(put).unwrap_or_default(),
            runs.join(", "),
            it.what.clone(),
        ]
    });
    let head = [
        "",
        "rows",
        "median s",
        "1,000 rows/s",
        "of it before the database, s",
        "runs, s",
        "what",
    ];
    table(&head, rows)
}

fn middle(measurement: &Measurement, of: impl Fn(&Run) -> Option<f64>) -> Option<String> {
    let values: Option<Vec<f64>> = measurement.runs.iter().map(of).collect();
    Some(seconds(median(&values?)))
}

fn loads(part: &Part) -> String {
    let rows = part.loads.iter().map(|it| {
        let rates: Vec<_> = it
            .runs
            .iter()
            .map(|run| format!("{:.0}", run.requests_per_second))
            .collect();
        vec![
            it.name.clone(),
            it.connections.to_string(),
            format!("**{:.0}**", it.median.requests_per_second),
            format!("{:.2}", it.median.p50_ms),
            format!("{:.2}", it.median.p99_ms),
            rates.join(", "),
            it.what.clone(),
        ]
    });
    let head = [
        "",
        "connections",
        "median requests/s",
        "p50 ms",
        "p99 ms",
        "runs, requests/s",
        "what",
    ];
    let table = table(&head, rows);
    if table.is_empty() {
        return table;
    }
    format!(
        "\nOf the API with `wrk --connections <n>`, of the database with `pgbench --protocol prepared --client <n>`; for \
         each, threads as many as cores, or one for one connection.\n{table}"
    )
}

/// Returns a table of the CPU time of Landfall's runs.
fn profile(part: &Part) -> String {
    let profiled: Vec<_> = part
        .measurements
        .iter()
        .filter(|it| it.runs.iter().any(|run| !run.cpu_seconds.is_empty()))
        .collect();
    // Processes that only wait are left out.
    let groups: BTreeSet<&String> = profiled
        .iter()
        .flat_map(|it| &it.runs)
        .flat_map(|run| &run.cpu_seconds)
        .filter(|(_, seconds)| **seconds >= 0.01)
        .map(|(group, _)| group)
        .collect();
    if groups.is_empty() {
        return String::new();
    }
    let head: Vec<&str> = ["CPU seconds, medians", "seconds"]
        .into_iter()
        .chain(groups.iter().map(|group| group.as_str()))
        .collect();
    let rows = profiled.iter().map(|it| {
        let used = groups.iter().map(|&group| {
            let values: Vec<f64> = it
                .runs
                .iter()
                .map(|run| run.cpu_seconds.get(group).copied().unwrap_or_default())
                .collect();
            seconds(median(&values))
        });
        [it.name.clone(), seconds(it.median_seconds)]
            .into_iter()
            .chain(used)
            .collect()
    });
    table(&head, rows)
}

fn figures(part: &Part) -> String {
    let rows = part.figures.iter().map(|it| {
        let (most, met) = match it.at_most {
            None => (String::new(), ""),
            Some(most) if it.value <= most => (format!("at most {}", figure(most)), "yes"),
            Some(most) => (format!("at most {}", figure(most)), "no"),
        };
        vec![
            it.name.clone(),
            format!("**{}** {}", figure(it.value), it.unit),
            most,
            met.to_owned(),
        ]
    });
    table(&["", "", "goal", "met"], rows)
}

fn seconds(value: f64) -> String {
    if value < 0.1 {
        format!("{value:.3}")
    } else {
        format!("{value:.2}")
    }
}

fn figure(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value < 10.0 {
        format!("{value:.2}")
    } else {
        format!("{value:.1}")
    }
}

/// Returns a table, or nothing if it would have no rows. Leaves out columns without content.
fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return String::new();
    }
    let kept: Vec<usize> = (0..head.len())
        .filter(|&column| rows.iter().any(|row| !row[column].is_empty()))
        .collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = String::from("\n");
    text += &line(kept.iter().map(|&column| head[column].to_owned()).collect());
    text += &line(kept.iter().map(|_| "---".to_owned()).collect());
    for row in &rows {
        text += &line(kept.iter().map(|&column| cell(&row[column])).collect());
    }
    text
}

/// Escapes text from a program so that it stays within its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace(['\r', '\n'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Missing;

    fn part() -> Part {
        let mut part = Part {
            title: "A database".to_owned(),
            ..Part::default()
        };
        for (name, seconds) in [("own", 4.0), ("floor", 3.0)] {
            let cpu = (name == "own").then(|| [("worker".to_owned(), 1.5)].into());
            let run = Run {
                seconds,
                preparing_seconds: (name == "floor").then_some(1.0),
                cpu_seconds: cpu.unwrap_or_default(),
                ..Run::default()
            };
            part.add(name, "what it does", 2_000_000, run);
        }
        part.compare("first load", "own", &["floor"], Some(0.8));
        part.figure("memory", 31.25, "MiB", Some(64.0));
        part.missing.push(Missing {
            name: "a peer".to_owned(),
            why: "a | b\nc".to_owned(),
        });
        part
    }

    #[test]
    fn a_section_has_ratios_seconds_profile_figures_and_what_is_missing() {
        let text = section(&part());
        for line in [
            "| first load | own | floor | **0.75** | 0.80 | no | 0.50 |",
            "| own | 2000000 | **4.00** | 500 |  | 4.00 | what it does |",
            "| own | 4.00 | 1.50 |",
            "| memory | **31.2** MiB | at most 64 | yes |",
            "| a peer | a \\| b c |",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn docs_are_written_of_the_parts_that_there_are() {
        let directory = tempfile::tempdir().unwrap();
        let docs = directory.path().join("docs");
        write(directory.path(), &docs).unwrap();
        assert!(!docs.exists());
        let json = serde_json::to_string(&part()).unwrap();
        fs::write(directory.path().join("sqlite.json"), json).unwrap();
        write(directory.path(), &docs).unwrap();
        let text = fs::read_to_string(docs.join("benchmark.md")).unwrap();
        assert!(text.contains("## A database"));
        assert!(docs.join("benchmark.svg").exists());
    }
}
