//! Suggestions ("did you mean"): the most similar allowed name.

/// The name that `word` probably means: the only one that each of its parts, separated by `_`, begins a part of, or else the
/// most similar one.
pub(crate) fn nearest<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let is_short_form = |name: &&str| {
        let (short, long): (Vec<_>, Vec<_>) = (word.split('_').collect(), name.split('_').collect());
        short.len() == long.len()
            && short.iter().zip(long).all(|(short, long)| short.len() > 1 && long.starts_with(short))
    };
    let mut short_for = allowed.clone().into_iter().filter(is_short_form);
    match (short_for.next(), short_for.next()) {
        (Some(name), None) => Some(name),
        _ => lrlab_config::nearest(word, allowed),
    }
}

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
    did_you_mean(word, allowed).unwrap_or_else(|| {
        if list.is_empty() { format!("expected {what}") } else { format!("expected {what} or one of {list}") }
    })
}

fn did_you_mean<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
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
        let metrics = ["val_loss", "val_ece", "val_accuracy", "train_accuracy", "test_accuracy"];
        assert_eq!(nearest("val_acc", metrics), Some("val_accuracy"));
        assert_eq!(nearest("test_acc", metrics), Some("test_accuracy"));
        check("batch", None);
        check("opt", Some("optimizer"));
        assert_eq!(or_among("a number", "x", ["a1b2"]), "expected a number or one of `a1b2`");
        assert_eq!((among("x", []), or_among("a number", "x", [])), (None, "expected a number".to_owned()));
        assert_eq!(among("x", ["a1b2", "c3d4"]).unwrap(), "expected one of `a1b2`, `c3d4`");
    }
}
