use super::TABLES;

/// Tables whose settings are listed one by one.
const LISTED: [&str; 4] = ["[batch]", "[lookup]", "[limits]", "[signature]"];

#[test]
fn the_page_lists_every_setting() {
    let page = include_str!("../../../../docs/destinations.md");
    for &(table, settings) in TABLES {
        for setting in settings() {
            let shown = match table {
                _ if LISTED.contains(&table) => {
                    format!("`{}.{setting}`", table.trim_matches(['[', ']']))
                }
                "[create], [update] and [delete]" => format!(".{setting}`"),
                _ if LISTED.contains(&format!("[{setting}]").as_str()) => continue,
                _ => format!("`{setting}`"),
            };
            let is_listed = page
                .lines()
                .any(|line| line.starts_with("| `") && line.contains(&shown));
            assert!(is_listed, "{table} {setting}");
        }
    }
}

#[test]
fn the_example_of_the_page_is_valid() {
    let page = include_str!("../../../../docs/destinations.md");
    let example = page.split("```toml\n").nth(1).unwrap();
    let example = example.split("```").next().unwrap();
    let dataset = "name = \"orders\"\nkey = [\"number\"]\nfields = [{ name = \"number\", type = \"text\" }, \
                   { name = \"status\", type = \"text\" }]\n";
    let dataset = landfall_domain::Dataset::from_toml("orders.toml", dataset).unwrap();
    let draft = super::Draft::parse("shop", "shop.toml", example).unwrap();
    draft.check(&dataset).unwrap();
}
