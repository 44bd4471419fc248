//! The allowed name that a misspelt one means.

/// Returns the allowed name that is most similar to `word`, for suggestions in errors. At most a third of the letters may
/// differ, and at least one agrees; case, and `-` instead of `_`, do not matter.
///
/// ```
/// use lrlab_config::nearest;
/// assert_eq!(nearest("bacth_size", ["lr", "batch_size"]), Some("batch_size"));
/// assert_eq!(nearest("7", ["0", "1"]), None);
/// ```
pub fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let (word, letters) = (plain(word), |name: &str| name.chars().count());
    allowed
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&word, &plain(name)), name))
        .filter(|(distance, name)| {
            let longer = letters(name).max(letters(&word));
            *distance <= (longer / 3).max(1) && (*distance < longer || *distance == 0)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
