//! Tokens and numbers in a definition.

use toml::Spanned;

use super::RawDataset;
use super::text::{DefinitionText, InvalidDefinition};
use crate::dataset::{
    Child, Dataset, Field, Measure, Mode, NAME_RULE, Total, TotalColumn, check_table_name,
    count_table, is_name,
};
use crate::value::FieldType;

/// The first segments of the routes that exist in every stack.
const ROUTES: [&str; 10] = [
    "datasets",
    "destinations",
    "jobs",
    "notifications",
    "page",
    "previews",
    "session",
    "sources",
    "uploads",
    "writes",
];

/// Returns the name of the token, and the parent, of a definition with this key.
pub(super) fn check_family(
    source: &DefinitionText<'_>,
    raw: &RawDataset,
    fields: &[Field],
    key: &[usize],
) -> Result<(Option<String>, Option<Child>), InvalidDefinition> {
    let token = source.check_optional("token", raw.token.as_ref(), |name| {
        check_token(name, raw, fields, key)
    })?;
    let parent = source.check_optional("parent", raw.parent.as_ref(), |name| {
        check_parent(name, raw)
    })?;
    check_number(source, raw, fields, key)?;
    let count = source.check_optional("count_in_parent", raw.count_in_parent.as_ref(), |name| {
        check_count(name, raw, fields, key)
    })?;
    let child = parent.map(|parent| Child { parent, count });
    if let Some(setting) = raw.token.as_ref().or(raw.parent.as_ref()) {
        let contradicted = if raw.mode == Mode::Snapshot {
            Some("mode = \"snapshot\", because no file has all rows")
        } else if raw.order.is_some() {
            Some("order, because a new row is older than every change of it")
        } else {
            None
        };
        if let Some(contradicted) = contradicted {
            let name = if raw.token.is_some() {
                "token"
            } else {
                "parent"
            };
            let message = format!("contradicts {contradicted}: remove one of the two");
            return Err(source.error(&setting.span(), name, message));
        }
    }
    Ok((token, child))
}

fn check_token(
    name: &str,
    raw: &RawDataset,
    fields: &[Field],
    key: &[usize],
) -> Result<String, String> {
    if !is_name(name) {
        return Err(NAME_RULE.to_owned());
    }
    if raw.parent.is_some() {
        return Err("contradicts parent: only the first dataset of a line has a token".to_owned());
    }
    if fields.iter().any(|field| field.name == *name) {
        return Err(format!(
            "a field is named {name}; choose another name for the token"
        ));
    }
    let is_text = |index: &usize| fields[*index].kind == FieldType::Text;
    if key.len() != 1 || !key.iter().all(is_text) {
        return Err("needs a key of one text field, which is a hash of the token".to_owned());
    }
    let dataset = raw.name.get_ref();
    if ROUTES.contains(&dataset.as_str()) {
        return Err(format!(
            "the API has a route /{dataset} already; choose another name for the dataset"
        ));
    }
    Ok(name.to_owned())
}

fn check_parent(name: &str, raw: &RawDataset) -> Result<String, String> {
    check_table_name(name)?;
    if raw.name.get_ref() == name {
        return Err("is the dataset itself; name another one".to_owned());
    }
    if raw.number.is_none() {
        return Err("needs number, the last field of the key".to_owned());
    }
    Ok(name.to_owned())
}

/// Checks that the number is the last field of the key, after that of the parent.
fn check_number(
    source: &DefinitionText<'_>,
    raw: &RawDataset,
    fields: &[Field],
    key: &[usize],
) -> Result<(), InvalidDefinition> {
    let checked = source.check_optional("number", raw.number.as_ref(), |name| {
        if raw.parent.is_none() {
            return Err("needs parent, the dataset in whose rows rows are numbered".to_owned());
        }
        let field = fields.iter().find(|field| field.name == *name);
        let field = field.ok_or_else(|| format!("no field is named {name:?}"))?;
        if field.kind != FieldType::Integer {
            let kind = field.kind.as_str();
            return Err(format!("{name} is of type {kind}; a number is an integer"));
        }
        let is_last = key.last().is_some_and(|last| fields[*last].name == *name);
        if key.len() < 2 || !is_last {
            return Err(format!(
                "{name} must be the last field of the key, after the key of the parent"
            ));
        }
        Ok(())
    });
    checked.map(drop)
}

fn check_count(
    name: &str,
    raw: &RawDataset,
    fields: &[Field],
    key: &[usize],
) -> Result<String, String> {
    if raw.parent.is_none() {
        return Err("needs parent, with whose rows the count is shown".to_owned());
    }
    if !is_name(name) {
        return Err(NAME_RULE.to_owned());
    }
    if key.iter().any(|index| fields[*index].name == *name) {
        return Err(format!("{name} is in the key; choose another name"));
    }
    Ok(name.to_owned())
}

/// Adds the total of `count_in_parent`.
pub(super) fn add_count(
    source: &DefinitionText<'_>,
    setting: Option<&Spanned<String>>,
    dataset: &mut Dataset,
    max_totals: usize,
) -> Result<(), InvalidDefinition> {
    let Some(setting) = setting else {
        return Ok(());
    };
    if dataset.totals.len() == max_totals {
        let message = format!("is a table of totals, too, of which there are at most {max_totals}");
        return Err(source.error(&setting.span(), "count_in_parent", message));
    }
    let parent_key = dataset.key.len() - 1;
    let by = dataset
        .key_fields()
        .take(parent_key)
        .map(|field| field.name.clone());
    let total = Total {
        name: count_table(&dataset.name),
        by: by.collect(),
        columns: vec![TotalColumn {
            name: setting.get_ref().clone(),
            measure: Measure::Count,
        }],
    };
    dataset.totals.push(total);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{Dataset, FamilyError, Measure, check_family};

    const APPLICATIONS: &str = r#"
name = "applications"
key = ["id"]
token = "token"

[[fields]]
name = "id"
type = "text"
"#;
    const CHATS: &str = r#"
name = "chats"
key = ["application", "chat"]
parent = "applications"
number = "chat"
count_in_parent = "chats_count"

[[fields]]
name = "application"
type = "text"
[[fields]]
name = "chat"
type = "integer"
[[fields]]
name = "title"
type = "text"
"#;

    fn parse(text: &str) -> Arc<Dataset> {
        Arc::new(Dataset::from_toml("d.toml", text).unwrap())
    }

    fn check_mistake(definition: &str, from: &str, to: &str, start: &str) {
        assert!(definition.contains(from), "{from}");
        let error = Dataset::from_toml("d.toml", &definition.replace(from, to)).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with(&format!("d.toml:{start}")), "{error}");
    }

    #[test]
    fn a_count_is_a_total_of_the_parent_key() {
        let chats = parse(CHATS);
        let count = chats.count_in_parent().unwrap();
        assert_eq!(
            (&*count.name, &count.by[..]),
            ("_count_chats", &["application".to_owned()][..])
        );
        assert_eq!(
            (&*count.columns[0].name, &count.columns[0].measure),
            ("chats_count", &Measure::Count)
        );
        assert!(parse(APPLICATIONS).count_in_parent().is_none());
    }

    #[test]
    fn mistakes_of_tokens_and_numbers_are_reported_with_their_line() {
        let token = "token = \"token\"";
        for (to, start) in [
            ("token = \"id\"", "4: token: a field is named id"),
            ("token = \"Id\"", "4: token: must start with a letter"),
            (
                "tokens = \"token\"",
                "4: tokens: there is no setting \"tokens\"; did you mean \"token\"?",
            ),
            (
                "token = \"t\"\nmode = \"snapshot\"",
                "4: token: contradicts mode",
            ),
            (
                "count_in_parent = \"n\"",
                "4: count_in_parent: needs parent",
            ),
            ("number = \"id\"", "4: number: needs parent"),
        ] {
            check_mistake(APPLICATIONS, token, to, start);
        }
        check_mistake(
            APPLICATIONS,
            "\"applications\"",
            "\"jobs\"",
            "4: token: the API has a route /jobs",
        );
        check_mistake(
            APPLICATIONS,
            "\"text\"",
            "\"integer\"",
            "4: token: needs a key of one text field",
        );
        let number = "number = \"chat\"";
        for (to, start) in [
            ("", "4: parent: needs number"),
            (
                "number = \"chats\"",
                "5: number: no field is named \"chats\"",
            ),
            ("number = \"title\"", "5: number: title is of type text"),
            (
                "number = \"chat\"\ntoken = \"t\"",
                "6: token: contradicts parent",
            ),
        ] {
            check_mistake(CHATS, number, to, start);
        }
        check_mistake(
            CHATS,
            "\"applications\"",
            "\"chats\"",
            "4: parent: is the dataset itself",
        );
        let swapped = "[\"chat\", \"application\"]";
        check_mistake(
            CHATS,
            "[\"application\", \"chat\"]",
            swapped,
            "5: number: chat must be the last",
        );
        check_mistake(
            CHATS,
            "\"chats_count\"",
            "\"chat\"",
            "6: count_in_parent: chat is in the key",
        );
    }

    #[test]
    fn a_line_begins_with_a_token_and_keys_continue_those_of_parents() {
        let (applications, chats) = (parse(APPLICATIONS), parse(CHATS));
        let check = |line: &[&Arc<Dataset>]| {
            check_family(&line.iter().map(|one| Arc::clone(one)).collect::<Vec<_>>())
        };
        assert_eq!(check(&[&chats, &applications]), Ok(()));
        assert_eq!(
            check(&[&chats]),
            Err(FamilyError::Missing("applications".to_owned()))
        );
        let plain = parse(&APPLICATIONS.replace("token = \"token\"", ""));
        assert_eq!(
            check(&[&chats, &plain]),
            Err(FamilyError::NoFamily("applications".to_owned()))
        );
        let other = parse(&CHATS.replacen("type = \"text\"", "type = \"date\"", 1));
        let error = check(&[&other, &applications]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "key: must be the key of applications (text), then the number"
        );
        let named = parse(&APPLICATIONS.replacen(
            "[[fields]]",
            "[[fields]]\nname = \"chats_count\"\ntype = \"text\"\n[[fields]]",
            1,
        ));
        assert!(matches!(
            check(&[&chats, &named]),
            Err(FamilyError::Count { .. })
        ));
        assert_eq!(check(&[&chats; 5]), Err(FamilyError::Generations));
    }
}
