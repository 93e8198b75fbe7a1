//! Infers definitions from files, and checks the files against them.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use landfall_domain::{ByteRange, Dataset, is_name};
use landfall_formats::infer::{Source, identifier};
use landfall_preview::{Report, Suggestion};

/// Returns the name of the dataset of a file: its name without the extension, made legal.
pub fn dataset_name(path: &Path) -> String {
    identifier(&path.file_stem().unwrap_or_default().to_string_lossy())
}

/// Returns the definition of a file. The dataset is named after the file by default.
///
/// # Errors
/// The file cannot be read, or there is no definition that it fits.
pub fn infer_file(path: &Path, name: Option<&str>) -> Result<Suggestion> {
    let dataset = name.map_or_else(|| dataset_name(path), str::to_owned);
    ensure!(is_name(&dataset), "{dataset:?} is no name of a dataset");
    let (mut file, size) = open(path)?;
    let source = Source {
        dataset: &dataset,
        file: &file_name(path),
        size,
    };
    let shown = path.display();
    let suggestion = landfall_preview::suggest(source, |range| read(&mut file, range));
    suggestion
        .with_context(|| format!("cannot read {shown}"))?
        .map_err(|problem| anyhow!("{shown}: {}", problem.message))
}

/// Runs a file against a definition.
///
/// # Errors
/// The file cannot be read.
pub fn check_file(dataset: &Dataset, path: &Path) -> Result<Report> {
    let (mut file, size) = open(path)?;
    let read = |range| read(&mut file, range);
    landfall_preview::check(dataset, &file_name(path), size, read)
        .with_context(|| format!("cannot read {}", path.display()))
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

/// Opens a file. Returns its size, too.
fn open(path: &Path) -> Result<(File, u64)> {
    let context = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(context)?;
    let metadata = file.metadata().with_context(context)?;
    ensure!(metadata.is_file(), "{} is not a file", path.display());
    Ok((file, metadata.len()))
}

fn read(file: &mut File, range: ByteRange) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(range.len()).map_err(std::io::Error::other)?;
    let mut bytes = vec![0; length];
    file.seek(SeekFrom::Start(range.start))?;
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(name: &str, content: &str, dataset: Option<&str>) -> Result<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        infer_file(&path, dataset).map(|suggestion| suggestion.definition)
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
    fn rows_without_a_key_are_identified_by_their_place() {
        let text = inferred("a.csv", "x,y\na,b\na,b\n", None).unwrap();
        assert!(text.contains("\nkey = \"position\"\n"), "{text}");
        assert!(text.contains("# All 2 rows of a.csv fit"), "{text}");
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
