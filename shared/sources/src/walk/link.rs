//! The `Link` header (RFC 8288).

use http::HeaderMap;
use http::header::LINK;

/// Returns the target of the link with the relation `next`.
pub(super) fn next_link(headers: &HeaderMap) -> Option<String> {
    let values = headers
        .get_all(LINK)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(links)
        .find(|(_, parameters)| is_next(parameters))
        .map(|(target, _)| target.to_owned())
}

/// Splits a header into the targets of its links and their parameters.
fn links(header: &str) -> Vec<(&str, &str)> {
    let mut links = Vec::new();
    let mut rest = header;
    while let Some((target, after)) = rest
        .split_once('<')
        .and_then(|(_, from)| from.split_once('>'))
    {
        let mut in_quotes = false;
        let end = after.find(|letter| {
            in_quotes ^= letter == '"';
            letter == ',' && !in_quotes
        });
        let (parameters, following) = after.split_at(end.unwrap_or(after.len()));
        links.push((target.trim(), parameters));
        rest = following;
    }
    links
}

fn is_next(parameters: &str) -> bool {
    parameters.split(';').any(|parameter| {
        let Some((name, value)) = parameter.split_once('=') else {
            return false;
        };
        let mut relations = value.trim().trim_matches('"').split_whitespace();
        name.trim().eq_ignore_ascii_case("rel")
            && relations.any(|relation| relation.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_is_found_among_others() {
        for (header, expected) in [
            (
                r#"<https://a.example/?page=3>; rel="next", <https://a.example/?page=9>; rel="last""#,
                Some("https://a.example/?page=3"),
            ),
            (
                r#"<https://a.example/?page=1,2>; rel="prev"; title="a, <b>", </x?y=1>; REL=next"#,
                Some("/x?y=1"),
            ),
            (r#"</x>; title="rel=next""#, None),
            (r#"</x>;rel="last next""#, Some("/x")),
            ("</x>; rel=nextpage", None),
            ("</x", None),
            ("", None),
        ] {
            let headers = HeaderMap::from_iter([(LINK, header.parse().unwrap())]);
            assert_eq!(next_link(&headers).as_deref(), expected, "{header}");
        }
        let mut headers = HeaderMap::new();
        headers.append(LINK, "</a>; rel=prev".parse().unwrap());
        headers.append(LINK, "</b>; rel=next".parse().unwrap());
        assert_eq!(next_link(&headers).as_deref(), Some("/b"));
    }
}
