//! Infers definitions from files, and checks the files against them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use landfall_domain::{Dataset, is_name};
use landfall_formats::infer::{Inferred, Source, identifier, infer};

use crate::check_file::check_file;
use crate::report::Report;

/// The most reasons of rejects that a comment names.
const REASONS: usize = 3;

/// Returns the definition of a file, as TOML whose comments say what is uncertain and what becomes of the file.
pub(crate) fn infer_file(path: &Path, name: Option<&str>) -> Result<String> {
    let shown = path.display();
    let dataset = match name {
        Some(name) => {
            ensure!(is_name(name), "{name:?} is no name of a dataset");
            name.to_owned()
        }
        None => identifier(&path.file_stem().unwrap_or_default().to_string_lossy()),
    };
    let context = || format!("cannot read {shown}");
    let mut file = File::open(path).with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    ensure!(metadata.is_file(), "{shown} is not a file");
    let source = Source {
        dataset: &dataset,
        file: &path.file_name().unwrap_or_default().to_string_lossy(),
        size: metadata.len(),
    };
    let inferred = infer(source, |range| {
        let mut bytes = vec![0; usize::try_from(range.len()).map_err(std::io::Error::other)?];
        file.seek(SeekFrom::Start(range.start))?;
        file.read_exact(&mut bytes)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let inferred = inferred
        .with_context(context)?
        .map_err(|problem| anyhow!("{shown}: {}", problem.message))?;
    let checked = checked(&inferred, path)?;
    Ok(format!("{checked}{inferred}"))
}

/// Returns comments that say what would become of the file.
fn checked(inferred: &Inferred, path: &Path) -> Result<String> {
    if inferred.key.fields.is_empty() {
        return Ok(String::new());
    }
    let dataset = Dataset::from_toml("inferred.toml", &inferred.to_string());
    let dataset =
        dataset.context("the inferred definition is refused, which is a defect of Landfall")?;
    let Report {
        rows,
        rejected,
        rejects,
        ..
    } = check_file(&dataset, path)?;
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let file: String = file.chars().filter(|char| !char.is_control()).collect();
    let mut comments = match rejected {
        0 => format!("# All {rows} rows of {file} fit this definition.\n"),
        _ => format!("# {rejected} of {rows} rows of {file} do not fit this definition:\n"),
    };
    for reason in rejects.iter().take(REASONS) {
        for place in reason.first.iter().take(1) {
            let message = place.message.replace(char::is_control, " ");
            let column = place.column.as_ref();
            let column = column.map_or_else(String::new, |column| format!("{column:?}: "));
            // Writing to a text cannot fail.
            let _ = writeln!(
                comments,
                "#   {} like that on line {}: {column}{message}",
                reason.count, place.line
            );
        }
    }
    Ok(comments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(name: &str, content: &str, dataset: Option<&str>) -> Result<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        infer_file(&path, dataset)
    }

    #[test]
    fn the_definition_says_how_many_rows_of_the_file_fit() {
        let text = inferred("My goods.csv", "sku,price\nA,1\nB,2\n", None).unwrap();
        assert!(
            text.starts_with("# All 2 rows of My goods.csv fit this definition.\n"),
            "{text}"
        );
        assert!(text.contains("\nname = \"my_goods\"\n"), "{text}");
        let text = inferred("a.csv", "sku,price\nA,1\nB,2,3\nC,4\n", Some("goods")).unwrap();
        assert!(
            text.contains("# 1 of 3 rows of a.csv do not fit this definition:\n"),
            "{text}"
        );
        assert!(
            text.contains("\n#   1 like that on line 3: expected 2 cells, found 3"),
            "{text}"
        );
        assert!(text.contains("\nname = \"goods\"\n"), "{text}");
    }

    #[test]
    fn a_file_without_a_key_has_a_definition_to_complete() {
        let text = inferred("a.csv", "x,y\na,b\na,b\n", None).unwrap();
        assert!(text.contains("\nkey = []\n"), "{text}");
        let error = Dataset::from_toml("a.toml", &text).unwrap_err();
        assert_eq!(error.field, "key");
    }

    #[test]
    fn files_that_are_not_read_are_named_with_the_reason() {
        let error = inferred("a.csv", "", None).unwrap_err();
        assert!(
            error.to_string().ends_with("a.csv: the file is empty"),
            "{error}"
        );
        assert!(inferred("a.csv", "a\n1\n", Some("a b")).is_err());
    }
}
