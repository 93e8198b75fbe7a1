use proptest::prelude::*;

use super::words::fold;
use super::{Clause, Occurrence, Search, Segment, highlight, parts_of_word, searched_words};

fn is_found(query: &str, text: &str) -> bool {
    Search::parse(query).unwrap().matches([text])
}

#[test]
fn words_are_folded() {
    for (text, words) in [
        ("Crème BRÛLÉE, Straße!", " creme brulee strasse "),
        ("can’t can't", " can't can't "),
        ("Ὀδυσσεύς ΟΔΥΣΣΕΥΣ", " οδυσσευσ οδυσσευσ "),
        ("мой ёж", " мой еж "),
        ("ﬁne ｆｉｎｅ № 5", " fine fine 5 "),
        ("東京都 x", " 東京 京都 都 x "),
        ("ｶﾞス", " ガス ス "),
        ("한국어", " 한국어 "),
        ("สวัสดี", " สวั วัส สดี ดี "),
        ("I ❤️ 🦀", " i ❤ 🦀 "),
        ("iPhone15日本", " iphone15 日本 本 "),
        ("...", " "),
    ] {
        assert_eq!(searched_words(text), words, "{text}");
    }
}

#[test]
fn terms_find_words_and_their_parts() {
    let text = "The front-garden is in Zürich. E-mail: a@b.example 東京都";
    for query in [
        "garden",
        "arde",
        "GARD",
        "zur*",
        "z*",
        "\"front garden\"",
        "front-garden",
        "e-mail",
        "is in",
        "a",
        "東京",
        "京都",
        "東京都",
        "京",
        "都",
        "front zurich",
        "garden\"",
        "*arde*",
        "-garden !",
    ] {
        assert!(is_found(query, text), "{query}");
    }
    for query in [
        "rd",
        "n",
        "\"arde\"",
        "arden*",
        "\"garden front\"",
        "\"front gard\"",
        "garden cat",
        "東都",
        "!?",
        "",
        "\"\"",
        "🦀",
    ] {
        assert!(!is_found(query, text), "{query}");
    }
}

#[test]
fn terms_consist_of_words_that_occur_somehow() {
    use Occurrence::{Beginning, Part, Word};
    for (query, words) in [
        ("gard", vec![Part("gard")]),
        ("of", vec![Word("of")]),
        ("g*", vec![Beginning("g")]),
        ("\"garden\"", vec![Word("garden")]),
        ("front-gard*", vec![Word("front"), Beginning("gard")]),
        ("東京都", vec![Word("東京"), Word("京都")]),
        ("東", vec![Beginning("東")]),
    ] {
        let search = Search::parse(query).unwrap();
        assert_eq!(search.clauses()[0].occurrences(), words, "{query}");
    }
    let parts: Vec<&str> = parts_of_word("crème").collect();
    assert_eq!(parts, ["crème", "rème", "ème"]);
    assert_eq!(parts_of_word("of").count(), 0);
}

#[test]
fn terms_may_be_in_different_fields() {
    let search = Search::parse("front garden").unwrap();
    assert!(search.matches(["a garden", "in front"]));
    assert!(!search.matches(["a garden", "behind"]));
    let phrase = Search::parse("\"front garden\"").unwrap();
    assert!(!phrase.matches(["front", "garden"]));
}

#[test]
fn long_queries_are_refused() {
    assert!(Search::parse(&"a".repeat(200)).is_ok());
    assert!(Search::parse(&"a".repeat(201)).is_err());
    let terms = |count| {
        let terms: Vec<_> = (0..count).map(|term| format!("t{term}")).collect();
        terms.join(" ")
    };
    assert!(Search::parse(&terms(16)).is_ok());
    assert!(Search::parse(&terms(17)).is_err());
    assert_eq!(
        Search::parse(&"same ".repeat(40)).unwrap().clauses().len(),
        1
    );
}

#[test]
fn only_the_beginning_of_a_long_text_is_searched() {
    let long = format!("{} needle", "word ".repeat(13_105));
    assert!(is_found("needle", &long));
    let longer = format!("{} needle", "word ".repeat(13_106));
    assert!(!is_found("needle", &longer));
}

fn marked(query: &str, text: &str) -> String {
    let search = Search::parse(query).unwrap();
    let segments = highlight(text, &search);
    let marked = segments.iter().map(|Segment { text, is_match }| {
        if *is_match {
            format!("[{text}]")
        } else {
            (*text).to_owned()
        }
    });
    marked.collect()
}

#[test]
fn matches_are_marked() {
    for (query, text, expected) in [
        ("gard", "Front garden, Garden", "Front [gard]en, [Gard]en"),
        ("\"front garden\"", "A Front-Garden.", "A [Front]-[Garden]."),
        ("creme", "Crème (brûlée)", "[Crème] (brûlée)"),
        ("京都", "東京都", "東[京都]"),
        ("京", "東京都", "東[京]都"),
        ("strasse", "Hauptstraße", "[Hauptstraße]"),
        ("is", "this is", "this [is]"),
        ("cat", "a dog", ""),
    ] {
        assert_eq!(marked(query, text), expected, "{query}");
    }
    let long = format!("{}needle {}", "a ".repeat(500), "b ".repeat(500));
    let snippet = marked("needle", &long);
    assert!(snippet.contains("[needle]"));
    assert_eq!(snippet.chars().count(), 160 + 2);
}

/// Texts of several scripts, with what separates words.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-cA-C]{1,5}",
        "[éÉßẞİıſǅK]{1,3}",
        "[а-гё]{1,4}",
        "[東京都日本の]{1,4}",
        "[สวัสดี]{1,4}",
        "[אבג]{1,3}",
        "[한국어]{1,3}",
        "[🦀❤️👩‍🚀🇩🇪]{1,2}",
        "[0-9½²]{1,3}",
        "\\PC{0,3}",
        any::<char>().prop_map(String::from),
    ];
    let separator = prop_oneof![
        Just(" "),
        Just(""),
        Just("-"),
        Just("'"),
        Just("\""),
        Just("*"),
        Just("_")
    ];
    prop::collection::vec((piece, separator), 0..12).prop_map(|parts| {
        parts
            .into_iter()
            .map(|(piece, separator)| piece + separator)
            .collect()
    })
}

/// Returns whether an index of words finds a text for every term.
fn is_candidate(search: &Search, text: &str) -> bool {
    let words = searched_words(text);
    let words: Vec<&str> = words.split_whitespace().collect();
    let clauses = search.clauses().iter();
    let mut occurrences = clauses.flat_map(Clause::occurrences);
    occurrences.all(|occurrence| {
        words.iter().any(|word| match occurrence {
            Occurrence::Word(wanted) => *word == wanted,
            Occurrence::Beginning(wanted) => word.starts_with(wanted),
            Occurrence::Part(wanted) => parts_of_word(word).any(|part| part.starts_with(wanted)),
        })
    })
}

proptest! {
    #[test]
    fn folding_twice_changes_nothing(text in texts()) {
        let folded = fold(&text);
        prop_assert_eq!(fold(&folded), folded);
    }

    #[test]
    fn every_query_is_understood(query in texts(), text in texts()) {
        if let Ok(search) = Search::parse(&query) {
            let is_match = search.matches([text.as_str()]);
            let marks = highlight(&text, &search);
            prop_assert!(!is_match || marks.iter().any(|segment| segment.is_match));
            prop_assert!(!is_match || is_candidate(&search, &text));
        }
    }

    #[test]
    fn a_text_finds_itself(text in texts()) {
        let text = text.replace(['"', '*'], "-");
        if let Ok(search) = Search::parse(&text) {
            prop_assert!(search.clauses().is_empty() || search.matches([text.as_str()]));
            prop_assert!(is_candidate(&search, &text));
        }
    }

    #[test]
    fn words_that_match_have_the_trigrams(query in texts(), text in texts()) {
        let Ok(search) = Search::parse(&query) else { return Ok(()) };
        let words = searched_words(&text);
        for clause in search.clauses().iter().filter(|clause| words.contains(clause.needle())) {
            prop_assert!(clause.trigrams().iter().all(|part| words.contains(part)));
        }
    }

    #[test]
    fn snippets_are_parts_of_the_text(query in texts(), text in texts()) {
        if let Ok(search) = Search::parse(&query) {
            let all: String = highlight(&text, &search).iter().map(|segment| segment.text).collect();
            prop_assert!(text.contains(&all));
        }
    }
}
