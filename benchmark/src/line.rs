//! The time of a load as a fixed part and a part proportional to its rows.

use anyhow::{Context, Result};
use landfall_local::{Lines, Progress, Sql, Stores};

use crate::Plan;
use crate::data::Sample;
use crate::empty::EmptyPipeline;
use crate::floors::postgres;
use crate::landfall::Landfall;
use crate::memory;
use crate::result::{Part, Run, as_float, median};
use crate::tables::Database;

const ROWS: [u64; 4] = [200_000, 1_000_000, 2_000_000, 5_000_000];
const QUICK_ROWS: [u64; 3] = [100_000, 200_000, 400_000];
const SMALL_ROWS: u64 = 10;
const SMALL_RUNS: usize = 20;
const SMALL: &str = "Landfall, 10 rows";
const EMPTY: &str = "empty functions";
const LANDFALL: &str = "Landfall";
const FLOOR: &str = postgres::BY_CHUNK.0;
const FLAT_WITHIN: f64 = 10.0;

pub(crate) async fn measure(plan: &Plan, progress: &Lines) -> Result<Part> {
    let mut part = plan.part(
        "line",
        "Time as a line, PostgreSQL, all memory touched before each load",
    );
    let landfall = Landfall::start(Stores::Sql, Sql::Postgres, progress).await?;
    let version = Database::at(landfall.stack.sql_url()).version().await?;
    part.versions.extend([version]);
    fixed(&landfall, &mut part, plan, progress).await?;

    let sizes = if plan.quick { &QUICK_ROWS[..] } else { &ROWS };
    for run in 0..plan.runs {
        for &rows in sizes {
            progress.step(&format!(
                "line, run {} of {}: {rows} rows",
                run + 1,
                plan.runs
            ));
            let sample = Sample::make(plan.directory(), rows, 1)?;
            memory::fill_page_cache(plan.directory())?;
            let floor = postgres::by_chunk(landfall.stack.sql_url(), &sample).await?;
            part.add(&of_rows(FLOOR, rows), postgres::BY_CHUNK.1, rows, floor);
            let dataset = format!("line_{rows}_{run}");
            landfall.dataset(&dataset).await?;
            memory::fill_page_cache(plan.directory())?;
            let loaded = landfall.ingest(&dataset, &sample, sample.keyed).await?;
            part.add(
                &of_rows(LANDFALL, rows),
                "first load, put to completion event",
                rows,
                loaded,
            );
            landfall.drop_tables(&dataset).await?;
        }
    }
    landfall.stack.stop();

    let fixed = part.seconds(SMALL).context("there is no fixed part")?;
    part.figure("fixed part: 10 rows", fixed * 1e3, "ms", None);
    if let Some(empty) = part.seconds(EMPTY) {
        part.figure(
            "of it, the same chain of empty functions",
            empty * 1e3,
            "ms",
            None,
        );
    }
    for (name, fixed, within) in [(LANDFALL, fixed, Some(FLAT_WITHIN)), (FLOOR, 0.0, None)] {
        tell(&mut part, name, sizes, fixed, within);
    }
    for &rows in sizes {
        let [own, floor] = [LANDFALL, FLOOR].map(|name| of_rows(name, rows));
        part.compare(&format!("{rows} rows"), &own, &[&floor], None);
    }
    Ok(part)
}

/// Adds the figures of the fixed part and of the slope.
fn tell(part: &mut Part, name: &str, sizes: &[u64], fixed: f64, within: Option<f64>) {
    let points: Vec<(f64, f64)> = sizes
        .iter()
        .filter_map(|&rows| {
            let seconds = part.seconds(&of_rows(name, rows))?;
            Some((as_float(rows) / 1e6, seconds))
        })
        .collect();
    let slope = slope(fixed, &points);
    let figure = format!("{name}: slope, a million rows");
    part.figure(&figure, slope, "s", None);
    for &(millions, seconds) in &points {
        let own = (seconds - fixed) / millions;
        let figure = format!("{name}: a million rows, of {:.0}", millions * 1e6);
        part.figure(&figure, own, "s", None);
    }
    let farthest = farthest(fixed, slope, &points);
    let figure = format!("{name}: farthest from the slope");
    part.figure(&figure, farthest, "%", within);
}

fn of_rows(name: &str, rows: u64) -> String {
    format!("{name}, {rows} rows")
}

/// Measures a tiny file in turn with the empty chain.
async fn fixed(landfall: &Landfall, part: &mut Part, plan: &Plan, progress: &Lines) -> Result<()> {
    progress.step("line: the fixed part");
    let sample = Sample::make(plan.directory(), SMALL_ROWS, 1)?;
    let empty = EmptyPipeline::deploy(&landfall.stack, plan.directory()).await?;
    landfall.dataset("line_small").await?;
    // The first of each is discarded, because it may include a cold start.
    empty.put().await?;
    landfall.put("line_small", &sample.file).await?;
    for _ in 0..SMALL_RUNS {
        let run = Run {
            seconds: empty.put().await?,
            ..Run::default()
        };
        let what =
            "S3, Lambda, SQS, Lambda, EventBridge, SQS, with functions in Python that only hand on";
        part.add(EMPTY, what, SMALL_ROWS, run);
        let (run, _) = landfall.put("line_small", &sample.file).await?;
        let what = "warm, put to completion event, again and again";
        part.add(SMALL, what, SMALL_ROWS, run);
    }
    landfall.drop_tables("line_small").await
}

/// Returns the seconds per million rows beyond the fixed part: the median of the points, so that no outlier decides.
fn slope(fixed: f64, points: &[(f64, f64)]) -> f64 {
    let slopes: Vec<f64> = points
        .iter()
        .map(|(millions, seconds)| (seconds - fixed) / millions)
        .collect();
    median(&slopes)
}

/// Returns the greatest distance of a point from the line, in percent.
fn farthest(fixed: f64, slope: f64, points: &[(f64, f64)]) -> f64 {
    points
        .iter()
        .map(|(millions, seconds)| {
            let own = (seconds - fixed) / millions;
            (own / slope - 1.0).abs() * 100.0
        })
        .fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_on_a_line_are_flat() {
        let points = [(0.2, 1.3), (1.0, 2.9), (5.0, 10.9)];
        let slope = slope(0.9, &points);
        assert!((slope - 2.0).abs() < 1e-9);
        assert!(farthest(0.9, slope, &points) < 1e-6);
    }

    #[test]
    fn the_farthest_point_is_reported_in_percent() {
        let points = [(1.0, 2.0), (2.0, 4.0), (4.0, 10.0)];
        let slope = slope(0.0, &points);
        assert!((farthest(0.0, slope, &points) - 25.0).abs() < 1e-9);
    }
}
