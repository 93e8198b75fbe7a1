//! Checks of definitions of sources.

use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use landfall_domain::Dataset;
use landfall_sources::Source;

use crate::check::{read_dataset, read_definitions};

/// Checks definitions: files, and all `.toml` files of directories. Returns a line about each source, or one with the
/// file, line, setting and message of its error. With the directory of the datasets, a source must fit its dataset.
pub(crate) fn check(
    paths: &[PathBuf],
    datasets: Option<&Path>,
) -> Result<Vec<Result<String, String>>> {
    let read = read_definitions(paths)?;
    let checked = read.iter().map(|(file, text)| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let shown = file.display().to_string();
        let source = Source::from_toml(&name, &shown, text).map_err(|error| error.to_string())?;
        if let Some(datasets) = datasets {
            check_dataset(&source, datasets).map_err(|error| format!("{shown}: {error}"))?;
        }
        Ok(describe(&source, Timestamp::now()))
    });
    Ok(checked.collect())
}

/// Checks that a source fits its dataset, which is returned, and that of its parents.
pub(super) fn check_dataset(source: &Source, directory: &Path) -> Result<Dataset, String> {
    let dataset = read_dataset(directory, &source.dataset)?;
    source.check_dataset(&dataset)?;
    if let Some(children) = &source.children {
        children.check_parents(&read_dataset(directory, &children.of)?)?;
    }
    Ok(dataset)
}

fn describe(source: &Source, now: Timestamp) -> String {
    let Source { name, dataset, .. } = source;
    let next = source.schedule.after(now);
    let next = next.map_or_else(|| "never".to_owned(), |next| next.to_string());
    let secrets = match source.secrets() {
        secrets if secrets.is_empty() => String::new(),
        secrets => format!(", secrets {}", secrets.join(", ")),
    };
    format!("{name}: dataset {dataset}, due {next}{secrets}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_checked_with_their_datasets() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        };
        let rest =
            "url = \"https://a.example/\"\nevery = \"1 hour\"\nheaders = { x = \"{secret:k}\" }\n";
        write(
            "sources/a_good.toml",
            &format!("dataset = \"stock\"\n{rest}complete = true\n"),
        );
        write(
            "sources/b_part.toml",
            &format!("dataset = \"stock\"\n{rest}"),
        );
        write(
            "sources/c_gone.toml",
            &format!("dataset = \"gone\"\n{rest}"),
        );
        write("sources/d_bad.toml", "dataset = \"stock\"\nurl = \"x\"\n");
        for (name, field) in [("e_children", "id"), ("f_children", "gone")] {
            let text = format!(
                "dataset = \"items\"\nurl = \"https://a.example/{{{field}}}\"\nevery = \"1 hour\"\n\
                 children = {{ of = \"stock\" }}\n"
            );
            write(&format!("sources/{name}.toml"), &text);
        }
        let fields = "key = [\"id\"]\nfields = [{ name = \"id\", type = \"text\" }]\n";
        write(
            "datasets/stock.toml",
            &format!("name = \"stock\"\nmode = \"snapshot\"\n{fields}"),
        );
        write(
            "datasets/items.toml",
            &format!("name = \"items\"\n{fields}"),
        );
        let sources = [directory.path().join("sources")];
        let datasets = directory.path().join("datasets");
        let checked = check(&sources, Some(&datasets)).unwrap();
        let good = checked[0].as_ref().unwrap();
        assert!(good.starts_with("a_good: dataset stock, due 2"), "{good}");
        assert!(good.ends_with(", secrets k"), "{good}");
        assert!(checked[4].is_ok(), "{:?}", checked[4]);
        for (index, part) in [
            (
                5,
                "f_children.toml: the dataset stock of [children] has no field \"gone\"",
            ),
            (1, "b_part.toml: the dataset stock has mode = \"snapshot\""),
            (2, "c_gone.toml: cannot read its dataset"),
            (3, "d_bad.toml:2: url: \"x\" is not a URL"),
        ] {
            let error = checked[index].as_ref().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let alone = check(&sources, None).unwrap();
        assert_eq!(alone.iter().filter(|checked| checked.is_ok()).count(), 5);
    }
}
