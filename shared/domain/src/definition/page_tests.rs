//! Compares `docs/files.md` with what is read: its tables list every setting, with its true default and an example.

use std::collections::BTreeSet;

use toml::{Table, Value};

use super::suggest::TABLES;
use crate::dataset::{Dataset, Quote};
use crate::value::BooleanWords;

const PAGE: &str = include_str!("../../../../docs/files.md");
/// A definition with fields of all types, and with everything else that examples may belong to.
const DEFINITION: &str = r#"
name = "d"
key = ["sku"]
operation = { column = "op" }
fields = [
    { name = "sku", type = "text" },
    { name = "note", type = "text" },
    { name = "quantity", type = "integer" },
    { name = "price", type = "decimal" },
    { name = "weight", type = "float" },
    { name = "active", type = "boolean" },
    { name = "day", type = "date" },
    { name = "at", type = "timestamp" },
    { name = "properties", type = "json" },
    { name = "updated_at", type = "timestamp", required = true },
]
totals = [{ name = "t", by = ["sku"], columns = { number = "count" } }]
"#;

/// A row of a table of settings.
struct Documented {
    /// The name, with its table in definitions if that is one of the dataset: `csv.trim`.
    setting: &'static str,
    /// What can have the setting.
    owners: Vec<&'static str>,
    default: &'static str,
    example: String,
}

/// Returns the rows of all tables of settings.
fn documented() -> Vec<Documented> {
    let mut rows = Vec::new();
    let mut owners_of_all = None;
    for line in PAGE.lines() {
        let cells = cells(line);
        let [first, default, example, ..] = cells[..] else {
            owners_of_all = None;
            continue;
        };
        if let Some(owners) = first.strip_prefix("setting") {
            owners_of_all = Some(owners_in(owners));
        } else if let Some(of_all) = &owners_of_all
            && let Some((setting, owners)) =
                first.strip_prefix('`').and_then(|it| it.split_once('`'))
        {
            let mut owners = owners_in(owners);
            if owners.is_empty() {
                owners.clone_from(of_all);
            }
            if owners.is_empty() {
                owners.push("dataset");
            }
            rows.push(Documented {
                setting,
                owners,
                default,
                example: example.trim_matches('`').replace("\\|", "|"),
            });
        }
    }
    rows
}

/// Returns the cells of a row of a table, none for other lines. Bars in cells are escaped.
fn cells(line: &str) -> Vec<&str> {
    let row = line.strip_prefix('|').and_then(|row| row.strip_suffix('|'));
    let Some(row) = row else {
        return Vec::new();
    };
    let bars = row.match_indices('|').map(|(at, _)| at);
    let ends = bars
        .filter(|at| !row[..*at].ends_with('\\'))
        .chain([row.len()]);
    let mut start = 0;
    ends.map(|end| row[std::mem::replace(&mut start, end + 1)..end].trim())
        .collect()
}

/// Returns the words in brackets, `(field, dataset)`.
fn owners_in(text: &str) -> Vec<&str> {
    let inner = text
        .trim()
        .strip_prefix('(')
        .and_then(|text| text.strip_suffix(')'));
    inner.map_or(Vec::new(), |inner| inner.split(", ").collect())
}

/// Returns the definition with these settings of an owner: the dataset, one of its fields, its operation or its totals.
fn with(owner: &str, field: usize, settings: Table) -> Result<Dataset, String> {
    let mut definition: Table = toml::from_str(DEFINITION).unwrap();
    let table = match owner {
        "dataset" => &mut definition,
        "field" => definition["fields"][field].as_table_mut().unwrap(),
        "operation" => definition["operation"].as_table_mut().unwrap(),
        "total" => definition["totals"][0].as_table_mut().unwrap(),
        _ => return Err(format!("nothing is called {owner}")),
    };
    if settings.contains_key("max_delete_share") {
        table.insert("mode".to_owned(), "snapshot".into());
    }
    if settings.get("key").is_some_and(Value::is_str) {
        table.remove("operation");
    }
    if ["parent", "number", "count_in_parent"]
        .iter()
        .any(|name| settings.contains_key(*name))
    {
        let key = ["sku", "quantity"].map(Value::from).to_vec();
        table.insert("key".to_owned(), key.into());
        table.insert("parent".to_owned(), "shops".into());
        table.insert("number".to_owned(), "quantity".into());
    }
    for (name, value) in settings {
        let value = match (table.remove(&name), value) {
            (Some(Value::Table(mut inner)), Value::Table(value)) if owner == "dataset" => {
                inner.extend(value);
                Value::Table(inner)
            }
            (_, value) => value,
        };
        table.insert(name, value);
    }
    let text = toml::to_string(&definition).unwrap();
    let mut dataset = Dataset::from_toml("d.toml", &text).map_err(|error| error.to_string())?;
    // What is set to its default is the same as what is not set.
    if dataset.csv.quote == Quote::Byte(b'"') {
        dataset.csv.quote = Quote::Usual;
    }
    for field in &mut dataset.fields {
        let boolean = &mut field.notation.boolean;
        if *boolean == Some(BooleanWords::default()) {
            *boolean = None;
        }
    }
    Ok(dataset)
}

/// Returns the settings that give the one with this path a value.
fn setting(path: &str, value: Value) -> Table {
    let (name, value) = match path.split_once('.') {
        Some((table, name)) => (table, Value::Table(setting(name, value))),
        None => (path, value),
    };
    Table::from_iter([(name.to_owned(), value)])
}

/// Returns the datasets that result from settings of an owner; those of a field are tried with each type.
fn outcomes(owner: &str, settings: &Table) -> Vec<Result<Dataset, String>> {
    let fields = if owner == "field" { 1..9 } else { 0..1 };
    fields
        .map(|field| with(owner, field, settings.clone()))
        .collect()
}

#[test]
fn the_page_lists_every_setting_and_no_other() {
    let mut known = BTreeSet::new();
    for &(table, settings) in TABLES {
        let (owner, prefix) = match table.trim_matches(['[', ']']) {
            "fields" => ("field", String::new()),
            "totals" => ("total", String::new()),
            "the dataset, above all tables" => ("dataset", String::new()),
            table => ("dataset", format!("{table}.")),
        };
        known.extend(
            settings()
                .into_iter()
                .map(|name| (owner, prefix.clone() + &name)),
        );
    }
    // Webhooks have a page of their own.
    let tables = [
        "csv",
        "json",
        "limits",
        "operation",
        "fields",
        "totals",
        "notify",
    ];
    known.retain(|(owner, name)| *owner != "dataset" || !tables.contains(&name.as_str()));
    let mut listed = BTreeSet::new();
    for Documented {
        setting, owners, ..
    } in documented()
    {
        listed.extend(owners.into_iter().map(|owner| match owner {
            "operation" => ("dataset", format!("operation.{setting}")),
            _ => (owner, setting.to_owned()),
        }));
    }
    let missing: Vec<_> = known.difference(&listed).collect();
    let unknown: Vec<_> = listed.difference(&known).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "missing: {missing:?}, unknown: {unknown:?}"
    );
}

#[test]
fn the_examples_of_the_page_are_valid_and_change_something() {
    let unchanged = with("dataset", 0, Table::new()).unwrap();
    for Documented {
        setting,
        owners,
        example,
        ..
    } in documented()
    {
        let mut settings: Table = toml::from_str(&example).expect(setting);
        // Most examples are written as they are in the table of the setting.
        if let Some((table, _)) = setting.split_once('.')
            && !settings.contains_key(table)
        {
            settings = Table::from_iter([(table.to_owned(), Value::Table(settings))]);
        }
        for owner in owners {
            let outcomes = outcomes(owner, &settings);
            let changes = |dataset: &Result<Dataset, String>| {
                dataset.as_ref().is_ok_and(|dataset| *dataset != unchanged)
            };
            assert!(
                outcomes.iter().any(changes),
                "{owner}, {setting}: {example}: {outcomes:?}"
            );
        }
    }
}

#[test]
fn the_defaults_of_the_page_are_true() {
    let unchanged = with("dataset", 0, Table::new()).unwrap();
    let mut checked = Vec::new();
    for Documented {
        setting: name,
        owners,
        default,
        example,
    } in documented()
    {
        let is_list = example.contains("= [");
        let Some(value) = value_of(default, is_list) else {
            continue;
        };
        for owner in owners {
            let outcomes = outcomes(owner, &setting(name, value.clone()));
            let mut valid = outcomes.iter().flatten().peekable();
            assert!(
                valid.peek().is_some(),
                "{owner}, {name}: {default}: {outcomes:?}"
            );
            assert!(
                valid.all(|dataset| *dataset == unchanged),
                "{owner}, {name}: {default}"
            );
        }
        checked.push(name);
    }
    assert!(checked.len() >= 20, "only these could be read: {checked:?}");
}

/// Returns the value in the cell of a default, if it consists of nothing but code, or is a size.
fn value_of(default: &str, is_list: bool) -> Option<Value> {
    if let Some(size) = default.strip_suffix(" MiB") {
        return Some(Value::Integer(size.parse::<i64>().ok()? << 20));
    }
    let parts: Vec<&str> = default.split(", ").collect();
    let code = parts
        .into_iter()
        .map(|part| part.strip_prefix('`')?.strip_suffix('`'));
    let values = code.map(|code| {
        let code = code?;
        let table: Result<Table, _> = toml::from_str(&format!("value = {code}"));
        let value = table.ok().and_then(|mut table| table.remove("value"));
        // Words are without quotes in lists.
        let value = value.filter(|value| !is_list || value.is_str());
        Some(value.unwrap_or_else(|| Value::String(code.to_owned())))
    });
    let mut values: Vec<Value> = values.collect::<Option<_>>()?;
    if is_list {
        return Some(Value::Array(values));
    }
    values.pop().filter(|_| values.is_empty())
}
