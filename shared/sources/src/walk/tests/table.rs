//! Pages of CSV.

use super::*;

fn table(format: &str) -> Source {
    let text = format!(
        "dataset = \"orders\"\nurl = \"{PATH}\"\nevery = \"10 minutes\"\nformat = \"{format}\"\n\
         paging = {{ kind = \"page\", parameter = \"page\" }}\n"
    );
    Source::from_toml("orders", "orders.toml", &text).unwrap()
}

/// Walks over these pages. Returns what is stored.
fn join(source: &Source, pages: &[&str]) -> Result<String, WalkError> {
    let mut walk = start(source, &State::default());
    let mut out = Vec::new();
    while let Some(request) = walk.request(source) {
        let page = number(&parameters(&request), "page").unwrap();
        let answer = Answer {
            status: StatusCode::OK,
            headers: &HeaderMap::new(),
            body: pages[usize::try_from(page - 1).unwrap()].as_bytes(),
        };
        walk.accept(source, &answer, &mut out)?;
        walk = serde_json::from_str(&serde_json::to_string(&walk).unwrap()).unwrap();
    }
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn pages_are_joined_under_one_header() {
    let pages = [
        "\u{feff}id,name\r\n1,\"a\r\nb\"\r\n2,c\r\n",
        "id,name\n3,d",
        "id,name\n",
    ];
    let joined = join(&table("csv"), &pages).unwrap();
    assert_eq!(joined, "id,name\n1,\"a\r\nb\"\n2,c\n3,d\n");
    assert_eq!(
        join(&table("tsv"), &["id\tname\n1\tx\n", ""]).unwrap(),
        "id\tname\n1\tx\n"
    );
}

#[test]
fn pages_without_records_leave_nothing_to_store() {
    for page in ["", "id,name\n"] {
        assert_eq!(join(&table("csv"), &[page]).unwrap(), "", "{page:?}");
    }
}

#[test]
fn pages_with_other_columns_fail_the_walk() {
    let pages = ["id,name\n1,a\n", "name,id\nb,2\n", ""];
    let error = join(&table("csv"), &pages).unwrap_err();
    assert!(matches!(error, WalkError::Header(2)), "{error}");
    // The sign-in page of a server is no table with the same columns, either.
    let pages = ["id,name\n1,a\n", "<html>\n<p>Sign in</p>\n", ""];
    assert!(join(&table("csv"), &pages).is_err());
}

#[test]
fn pages_that_repeat_fail_the_walk() {
    let pages = ["id,name\n1,a\n"; 4];
    let error = join(&table("csv"), &pages).unwrap_err();
    assert!(matches!(error, WalkError::Loop { page: 2, .. }), "{error}");
}
