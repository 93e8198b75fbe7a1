/// Returns the name that is most likely meant by a misspelt one, if any is.
pub(crate) fn most_similar<'n>(
    name: &str,
    known: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let folded = name.to_lowercase();
    let distance = |known: &str| strsim::damerau_levenshtein(&folded, &known.to_lowercase());
    // A third of the letters, so that short names are not confused.
    let most = (name.chars().count() / 3).clamp(1, 4);
    let known = known.into_iter().map(|known| (distance(known), known));
    let known: Vec<(usize, &str)> = known.collect();
    let nearest = known.iter().min_by_key(|(distance, _)| *distance);
    let nearest = nearest.filter(|(distance, known)| *distance <= most && *distance < known.len());
    // Abbreviations, like int and bool.
    let abbreviates = |known: &str| folded.len() >= 3 && known.to_lowercase().starts_with(&folded);
    nearest
        .or_else(|| known.iter().find(|(_, known)| abbreviates(known)))
        .map(|(_, known)| *known)
}

#[cfg(test)]
mod tests {
    use super::most_similar;

    #[test]
    fn a_misspelt_name_is_found() {
        let known = ["name", "type", "column", "required", "nulls"];
        for (name, found) in [
            ("typ", Some("type")),
            ("Column", Some("column")),
            ("requird", Some("required")),
            ("null", Some("nulls")),
            ("req", Some("required")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(most_similar(name, known), found, "{name}");
        }
    }
}
