//! Posts with words of several scripts, queries for them, and what a scan finds.

use std::collections::BTreeMap;

use landfall_domain::{Row, Search, Value};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::rows::{row, text};

pub(crate) const POSTS: &str = r#"
key = ["id"]
search = ["title", "body"]
fields = [
    { name = "id", type = "integer" },
    { name = "title", type = "text" },
    { name = "place", type = "integer", index = true },
    { name = "body", type = "text" },
]
"#;

/// Words of several scripts, and what is between words.
const WORDS: [&str; 40] = [
    "garden",
    "Gardener",
    "GARD",
    "the",
    "a",
    "of",
    "I",
    "é",
    "Crème",
    "brûlée",
    "Straße",
    "STRASSE",
    "can't",
    "e-mail",
    "example.com",
    "snake_case",
    "100%",
    "3.14",
    "x*y",
    "\"quoted\"",
    "back\\slash",
    "мой",
    "ёлка",
    "ДОМ",
    "Ὀδυσσεύς",
    "שלום",
    "مَرْحَبًا",
    "नमस्ते",
    "東京都",
    "京都大学",
    "日本",
    "の",
    "カタカナ",
    "ｶﾅ",
    "สวัสดี",
    "한국어",
    "🦀",
    "👩‍🚀",
    "❤️",
    "…—!?",
];

fn sentence(random: &mut StdRng) -> String {
    let words = (0..random.random_range(0..12)).map(|_| *WORDS.choose(random).unwrap());
    let separated = words.collect::<Vec<_>>().into_iter().map(|word| {
        let separator = *[" ", " ", " ", ", ", "", "-", "\n"].choose(random).unwrap();
        format!("{word}{separator}")
    });
    separated.collect()
}

pub(crate) fn post(id: i64, title: Value, body: Value) -> Row {
    row(
        0,
        vec![Value::Integer(id), title, Value::Integer(id % 7), body],
    )
}

fn random_text(random: &mut StdRng) -> Value {
    if random.random_bool(0.1) {
        return Value::Null;
    }
    text(&sentence(random))
}

pub(crate) fn random_post(id: i64, random: &mut StdRng) -> Row {
    post(id, random_text(random), random_text(random))
}

/// What is stored: title and body by id.
pub(crate) type Posts = BTreeMap<i64, [Value; 2]>;

pub(crate) fn apply_to(posts: &mut Posts, rows: &[Row]) {
    for row in rows {
        let Value::Integer(id) = row.values[0] else {
            panic!("the key is an integer");
        };
        if row.deleted {
            posts.remove(&id);
        } else {
            posts.insert(id, [row.values[1].clone(), row.values[3].clone()]);
        }
    }
}

pub(crate) fn texts(values: &[Value; 2]) -> Vec<String> {
    let texts = values.iter().filter_map(|value| match value {
        Value::Text(text) => Some(text.to_string()),
        _ => None,
    });
    texts.collect()
}

pub(crate) fn scan(posts: &Posts, search: &Search) -> Vec<i64> {
    let found = posts.iter().filter(|(_, values)| {
        let texts = texts(values);
        search.matches(texts.iter().map(String::as_str))
    });
    found.map(|(id, _)| *id).collect()
}

fn part_of(text: &str, random: &mut StdRng) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return String::new();
    }
    let start = random.random_range(0..chars.len());
    let length = random.random_range(1..=chars.len().min(10));
    chars[start..].iter().take(length).collect()
}

/// Returns a query made from what texts have: words, prefixes, phrases, parts, and what is not a word.
pub(crate) fn random_query(random: &mut StdRng) -> String {
    let word = |random: &mut StdRng| (*WORDS.choose(random).unwrap()).to_owned();
    match random.random_range(0..8) {
        0 => word(random),
        1 => {
            let word = word(random);
            format!("{}*", part_of(&word, random))
        }
        2 => format!("\"{}\"", word(random)),
        3 => {
            let words = sentence(random).replace('"', "");
            let words: Vec<_> = words.split_whitespace().take(3).collect();
            format!("\"{}\"", words.join(" "))
        }
        4 => {
            let word = word(random);
            part_of(&word, random)
        }
        5 => format!("{} {}", word(random), word(random)),
        6 => {
            let words = sentence(random);
            part_of(&words, random)
        }
        _ => (*["?!", "\"", "*", "%", "_", "'", "🦀 *", "a \"", "东", ""]
            .choose(random)
            .unwrap())
        .to_owned(),
    }
}
