//! The split into training and validation, and limits on the number of examples.

use std::collections::HashMap;

use lrlab_random::{Purpose, Stream};

use crate::Duplicates;

/// Returns, for every row, the first row with the same content.
pub(crate) fn first_rows(contents: &[u128]) -> Vec<u32> {
    let mut first = HashMap::with_capacity(contents.len());
    (0..contents.len() as u32).map(|row| *first.entry(contents[row as usize]).or_insert(row)).collect()
}

/// Counts exact duplicates.
pub(crate) fn duplicates(train: &[u128], test: &[u128]) -> Duplicates {
    let repeats = |contents: &[u128]| {
        first_rows(contents).iter().enumerate().filter(|&(row, &first)| row != first as usize).count()
    };
    let known: std::collections::HashSet<u128> = train.iter().copied().collect();
    Duplicates {
        within_train: repeats(train),
        within_test: repeats(test),
        train_test: test.iter().filter(|content| known.contains(content)).count(),
    }
}

/// Returns the training and the validation rows, each ascending.
///
/// Rows with equal content are in the same split. Validation gets up to `validation` rows with the class proportions of all rows
/// (largest remainder method): groups of equal rows are added in random order as long as they fit.
pub(crate) fn hold_out(
    labels: &[u32],
    contents: &[u128],
    classes: usize,
    validation: usize,
    seed: u64,
) -> (Vec<u32>, Vec<u32>) {
    let mut groups = vec![Vec::new(); labels.len()];
    for (row, first) in first_rows(contents).into_iter().enumerate() {
        groups[first as usize].push(row as u32);
    }
    let mut open = shares(labels.iter().copied(), classes, validation);
    let mut chosen = vec![false; labels.len()];
    for group in Stream::new(seed, Purpose::Split, "validation").permutation(groups.len()) {
        let group = &groups[group as usize];
        let mut remaining = open.clone();
        let fits = group.iter().all(|&row| {
            let class = labels[row as usize] as usize;
            remaining[class].checked_sub(1).map(|n| remaining[class] = n).is_some()
        });
        if fits {
            open = remaining;
            for &row in group {
                chosen[row as usize] = true;
            }
        }
    }
    (0..labels.len() as u32).partition(|&row| !chosen[row as usize])
}

/// Returns at most `limit` of `rows`, ascending, with unchanged class proportions; `seed` and `name` determine the choice.
pub(crate) fn limited(
    rows: Vec<u32>,
    labels: &[u32],
    classes: usize,
    limit: Option<usize>,
    seed: u64,
    name: &str,
) -> Vec<u32> {
    let Some(limit) = limit.filter(|&n| n < rows.len()) else { return rows };
    let mut open = shares(rows.iter().map(|&row| labels[row as usize]), classes, limit);
    let order = Stream::new(seed, Purpose::Split, name).permutation(rows.len());
    let mut kept: Vec<u32> = order
        .into_iter()
        .map(|place| rows[place as usize])
        .filter(|&row| {
            let class = labels[row as usize] as usize;
            open[class].checked_sub(1).map(|n| open[class] = n).is_some()
        })
        .collect();
    kept.sort_unstable();
    kept
}

/// Distributes `n` examples over the classes by the largest remainder method; the lower class wins a tie.
fn shares(labels: impl Iterator<Item = u32>, classes: usize, n: usize) -> Vec<usize> {
    let mut counts = vec![0_usize; classes];
    for label in labels {
        counts[label as usize] += 1;
    }
    let total = counts.iter().sum::<usize>().max(1);
    let mut shares: Vec<usize> = counts.iter().map(|count| count * n / total).collect();
    let mut by_remainder: Vec<usize> = (0..classes).collect();
    by_remainder.sort_by_key(|&class| std::cmp::Reverse(counts[class] * n % total));
    let rest = n.saturating_sub(shares.iter().sum());
    for &class in by_remainder.iter().take(rest) {
        shares[class] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn class_counts(rows: &[u32], labels: &[u32], classes: usize) -> Vec<usize> {
        (0..classes as u32).map(|c| rows.iter().filter(|&&row| labels[row as usize] == c).count()).collect()
    }

    #[test]
    fn the_splits_of_cifar10_and_imdb_are_stratified() {
        for (n, classes, validation) in [(50_000, 10, 5_000), (25_000, 2, 2_500)] {
            let labels: Vec<u32> = (0..n).map(|i| i % classes).collect();
            let contents: Vec<u128> = (0..u128::from(n)).collect();
            let (train, held) = hold_out(&labels, &contents, classes as usize, validation, 0);
            assert_eq!((train.len(), held.len()), (n as usize - validation, validation));
            let per_class = validation / classes as usize;
            assert!(class_counts(&held, &labels, classes as usize).iter().all(|&count| count == per_class));
            assert_ne!(held, hold_out(&labels, &contents, classes as usize, validation, 1).1, "by seed");
        }
    }

    #[test]
    fn shares_follow_the_largest_remainder_method() {
        let labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]; // 5, 3, 2 of 10
        for (n, expected) in
            [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (4, [2, 1, 1]), (10, [5, 3, 2])]
        {
            assert_eq!(shares(labels.into_iter(), 3, n), expected, "{n}");
        }
    }

    #[test]
    fn duplicates_are_counted() {
        let found = duplicates(&[1, 2, 1, 1], &[2, 5, 5, 1, 2]);
        assert_eq!(found, Duplicates { within_train: 2, within_test: 2, train_test: 3 });
        assert_eq!(first_rows(&[7, 8, 7, 8, 9]), [0, 1, 0, 1, 4]);
    }

    #[test]
    fn limits_preserve_class_proportions() {
        let labels: Vec<u32> = (0..1000).map(|i| u32::from(i % 4 == 0)).collect();
        let all: Vec<u32> = (0..1000).collect();
        let some = limited(all.clone(), &labels, 2, Some(100), 0, "a");
        assert_eq!(class_counts(&some, &labels, 2), [75, 25]);
        assert!(some.is_sorted());
        assert_ne!(some, limited(all.clone(), &labels, 2, Some(100), 1, "a"), "by seed");
        assert_ne!(some, limited(all.clone(), &labels, 2, Some(100), 0, "b"), "by name");
        for limit in [None, Some(1000), Some(5000)] {
            assert_eq!(limited(all.clone(), &labels, 2, limit, 0, "a"), all);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn equal_contents_are_in_the_same_split(
            examples in prop::collection::vec((0_u32..3, 0_u128..60), 10..200),
            share in 2_usize..10,
            seed in 0_u64..4,
        ) {
            let (labels, contents): (Vec<u32>, Vec<u128>) = examples.into_iter().unzip();
            let wanted = labels.len() / share;
            let (train, validation) = hold_out(&labels, &contents, 3, wanted, seed);
            prop_assert!(validation.len() <= wanted);
            let mut all = [train.clone(), validation.clone()].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..labels.len() as u32).collect::<Vec<_>>());
            for &row in &validation {
                let repeated = train.iter().any(|&other| contents[other as usize] == contents[row as usize]);
                prop_assert!(!repeated, "row {} is in both splits", row);
            }
        }
    }
}
