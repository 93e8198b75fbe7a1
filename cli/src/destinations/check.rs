//! Checks of definitions of destinations.

use std::path::{Path, PathBuf};

use anyhow::Result;
use landfall_destinations::Draft;

use crate::check::{read_dataset, read_definitions};

/// Checks definitions. Returns a line about each destination, or one with its error.
pub(super) fn check(paths: &[PathBuf], datasets: &Path) -> Result<Vec<Result<String, String>>> {
    let read = read_definitions(paths)?;
    let checked = read.iter().map(|(file, text)| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let shown = file.display().to_string();
        let draft = Draft::parse(&name, &shown, text).map_err(|error| error.to_string())?;
        let dataset = read_dataset(datasets, draft.dataset())
            .map_err(|error| draft.dataset_error(error).to_string())?;
        let destination = draft.check(&dataset).map_err(|error| error.to_string())?;
        let secrets = match destination.secrets() {
            secrets if secrets.is_empty() => String::new(),
            secrets => format!(", secrets {}", secrets.join(", ")),
        };
        let per_second = destination.limits.per_second;
        Ok(format!(
            "{name}: dataset {}, {per_second} calls per second{secrets}",
            dataset.name
        ))
    });
    Ok(checked.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_checked_with_their_datasets() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = directory.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, text).unwrap();
        };
        let rest = "url = \"https://a.example\"\nupdate = { path = \"/stock/{{ id }}\" }\n";
        let headers = "headers = { Authorization = \"Bearer {secret:k}\" }\n";
        write(
            "destinations/a_good.toml",
            &format!("dataset = \"stock\"\n{headers}{rest}"),
        );
        write(
            "destinations/b_gone.toml",
            &format!("dataset = \"gone\"\n{rest}"),
        );
        write(
            "destinations/c_bad.toml",
            &format!("dataset = \"stock\"\nwhen = \"number > 1\"\n{rest}"),
        );
        write(
            "datasets/stock.toml",
            "name = \"stock\"\nkey = [\"id\"]\nfields = [{ name = \"id\", type = \"text\" }]\n",
        );
        let destinations = [directory.path().join("destinations")];
        let checked = check(&destinations, &directory.path().join("datasets")).unwrap();
        let expected = "a_good: dataset stock, 5 calls per second, secrets k";
        assert_eq!(checked[0].as_deref(), Ok(expected));
        for (index, part) in [
            (1, "b_gone.toml:1: dataset: cannot read its dataset"),
            (
                2,
                "c_bad.toml:2: when: the dataset stock has no field \"number\"",
            ),
        ] {
            let error = checked[index].as_ref().unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
