use super::TABLES;
use crate::Source;

#[test]
fn the_page_lists_every_setting_and_no_other() {
    let page = include_str!("../../../../docs/sources.md");
    let mut listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"))
        .flat_map(|(settings, _)| settings.split("`, `"))
        .filter(|setting| !setting.starts_with('"'))
        .collect();
    listed.sort_unstable();
    let mut known = Vec::new();
    for &(table, settings) in TABLES {
        let prefix = match table.trim_matches(['[', ']']) {
            "the source, above all tables" => String::new(),
            table => format!("{table}."),
        };
        known.extend(settings().into_iter().map(|name| prefix.clone() + &name));
    }
    let tables = [
        "body",
        "paging",
        "incremental",
        "children",
        "auth",
        "limits",
    ];
    known.retain(|name| !tables.contains(&name.as_str()));
    known.sort_unstable();
    assert_eq!(listed, known);
}

#[test]
fn the_examples_of_the_page_are_valid() {
    let page = include_str!("../../../../docs/sources.md");
    let examples: Vec<&str> = page
        .split("```toml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .collect();
    assert!(examples.len() >= 3, "{}", examples.len());
    for example in examples {
        let parsed =
            Source::from_toml("example", "example.toml", example).map(|source| source.name);
        assert!(parsed.is_ok(), "{example}\n{parsed:?}");
    }
}
