//! Suggestions ("did you mean"): the most similar allowed name.

pub(crate) use lrlab_config::nearest;

/// A suggestion for a name that is not allowed.
pub(crate) fn among<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    let list = list(allowed.clone());
    did_you_mean(word, allowed).or_else(|| (!list.is_empty()).then(|| format!("expected one of {list}")))
}

/// A suggestion for a word if `what`, such as a number, or one of the allowed words is expected.
pub(crate) fn or_among<'a>(
    what: &str,
    word: &str,
    allowed: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    let list = list(allowed.clone());
    did_you_mean(word, allowed).unwrap_or_else(|| format!("expected {what} or one of {list}"))
}

fn did_you_mean<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, allowed).map(|name| format!("did you mean `{name}`?"))
}

/// The names in backticks, joined by commas.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_find_the_intended_word() {
        let keys = ["lr", "lr_min", "batch_size", "epochs", "optimizer"];
        let check = |word: &str, expected: Option<&str>| assert_eq!(nearest(word, keys), expected, "{word}");
        check("batch-size", Some("batch_size"));
        check("bacth_size", Some("batch_size"));
        check("epoch", Some("epochs"));
        check("optimiser", Some("optimizer"));
        check("lt", Some("lr"));
        check("frobnicate", None);
        check("x", None);
        assert_eq!(among("x", ["a1b2", "c3d4"]).unwrap(), "expected one of `a1b2`, `c3d4`");
    }
}
