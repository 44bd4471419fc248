//! Data sets in folders of a user's own, with what systems leave there and what hides from a careless look.

#![allow(clippy::unwrap_used, reason = "panics fail the test")]

use std::path::Path;

use lrlab_tests::run;

fn reviews(folder: &Path) {
    for part in ["train", "test"] {
        for (class, word) in [("neg", "dull"), ("pos", "fine")] {
            let place = folder.join("aclImdb").join(part).join(class);
            std::fs::create_dir_all(&place).unwrap();
            for i in 0..10 {
                let text = format!("A {word} film, the {i}th of {part}.");
                std::fs::write(place.join(format!("{i}_{i}.txt")), text).unwrap();
            }
        }
    }
}

fn verify(folder: &Path) -> String {
    let ran = run(folder, &["data", "verify", "imdb", "--folder", "."]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[test]
fn what_systems_leave_is_no_data() {
    let folder = tempfile::tempdir().unwrap();
    reviews(folder.path());
    let pristine = verify(folder.path());
    assert!(pristine.contains("20 rows for training and validation, 20 for test"), "{pristine}");
    let place = folder.path().join("aclImdb/train/pos");
    std::fs::write(place.join("._0_0.txt"), b"\0\x05\x16\x07 of another system").unwrap();
    std::fs::write(place.join(".DS_Store"), b"of another system").unwrap();
    std::fs::create_dir(place.join(".Trash")).unwrap();
    assert_eq!(verify(folder.path()), pristine);
}

/// An edit of the same length, after which the time of the content is put back.
#[test]
fn an_edit_that_hides_is_found() {
    let folder = tempfile::tempdir().unwrap();
    reviews(folder.path());
    let pristine = verify(folder.path());
    let file = folder.path().join("aclImdb/train/pos/3_3.txt");
    let times = file.metadata().unwrap().modified().unwrap();
    let text = std::fs::read_to_string(&file).unwrap().replace("fine", "poor");
    std::fs::write(&file, text).unwrap();
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(times).unwrap();
    assert_ne!(verify(folder.path()), pristine);
}
