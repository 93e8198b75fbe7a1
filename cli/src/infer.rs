//! Infers definitions from files, and checks the files against them.

use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use landfall_domain::{Codec, Dataset, is_name};
use landfall_formats::infer::{Source, identifier};
use landfall_preview::{Ending, Report, Suggestion};

use crate::content::Content;

/// What is said about content of more than [`MAX_UNPACKED`](crate::content::MAX_UNPACKED) bytes.
const LOOKED_AT: &str = "only the first 4 GiB were looked at";

/// Returns the name of the dataset of a file: its name without the extension, made legal.
pub fn dataset_name(path: &Path) -> String {
    identifier(&stem(path).unwrap_or_default())
}

/// Returns the name of a file without its extension, and without that of a compressed file.
pub fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let stem = Path::new(Codec::unpacked_name(&name)).file_stem()?;
    Some(stem.to_string_lossy().into_owned())
}

/// Returns the definition of a file. The dataset is named after the file by default.
///
/// # Errors
/// The file cannot be read, or there is no definition that it fits.
pub fn infer_file(path: &Path, name: Option<&str>) -> Result<Suggestion> {
    let dataset = name.map_or_else(|| dataset_name(path), str::to_owned);
    ensure!(is_name(&dataset), "{dataset:?} is no name of a dataset");
    let mut content = Content::open(path)?;
    let shown = path.display();
    if let Ending::Damaged(problem) = &content.ending {
        return Err(anyhow!("{shown}: {}", problem.message));
    }
    let source = Source {
        dataset: &dataset,
        file: &file_name(path),
        size: content.size,
    };
    let suggestion = landfall_preview::suggest(source, |range| content.read(range));
    let mut suggestion = suggestion
        .with_context(|| format!("cannot read {shown}"))?
        .map_err(|problem| anyhow!("{shown}: {}", problem.message))?;
    if content.ending == Ending::Cut {
        let note = format!("# Of what {} unpacks to, {LOOKED_AT}.\n", source.file);
        suggestion
            .definition
            .insert_str(0, &note.replace('\r', " "));
    }
    Ok(suggestion)
}

/// Runs a file against a definition. Says if not all of it is looked at.
///
/// # Errors
/// The file cannot be read.
pub fn check_file(dataset: &Dataset, path: &Path) -> Result<Report> {
    let mut content = Content::open(path)?;
    if content.ending == Ending::Cut {
        eprintln!("of what {} unpacks to, {LOOKED_AT}", path.display());
    }
    let (size, ending) = (content.size, content.ending.clone());
    let read = |range| content.read(range);
    landfall_preview::check_content(dataset, &file_name(path), size, ending, read)
        .with_context(|| format!("cannot read {}", path.display()))
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tests::gzip;

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

    #[test]
    fn compressed_files_are_unpacked_and_named_without_their_extensions() {
        let directory = tempfile::tempdir().unwrap();
        let path = gzip(&directory, "My goods.csv.gz", "sku,price\nA,1\nB,2\nC,x\n");
        let suggestion = infer_file(&path, None).unwrap();
        let text = &suggestion.definition;
        assert!(text.contains("3 rows of My goods.csv.gz fit"), "{text}");
        assert!(text.contains("\nname = \"my_goods\"\n"), "{text}");
        let report = check_file(&suggestion.dataset, &path).unwrap();
        assert_eq!((report.rows, report.rejected, report.problem), (3, 0, None));
        for (name, expected) in [
            ("a.csv", "a"),
            ("a.csv.bz2", "a"),
            ("a.zip", "a"),
            ("a.b.NDJSON.ZST", "a.b"),
            ("a.b", "a"),
        ] {
            assert_eq!(stem(Path::new(name)).as_deref(), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_cut_is_checked_as_far_as_it_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = gzip(&directory, "a.csv.gz", "sku,price\nA,1\nB,2\n");
        let dataset = infer_file(&path, None).unwrap().dataset;
        let packed = std::fs::read(&path).unwrap();
        std::fs::write(&path, &packed[..packed.len() - 3]).unwrap();
        let report = check_file(&dataset, &path).unwrap();
        assert_eq!(report.rows, 2);
        let problem = report.problem.unwrap();
        assert!(problem.message.contains("not complete"), "{problem}");
        let error = infer_file(&path, None).err().unwrap().to_string();
        assert!(
            error.contains("a.csv.gz: the gzip data ends at byte"),
            "{error}"
        );
    }
}
