//! The report's page in a real browser.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::process::Command;

use lrlab_tests::run;

const EXPERIMENT: &str = r#"name = "page"
description = "Two rates & one <page>."

[axes]
model = ["resnet"]
schedule = ["static", "cosine"]
seed = [0]

[defaults]
lr = 0.1
epochs = 2
batch_size = 32
optimizer = { sgd = {} }

[models.resnet]
network = { resnet = { depth = 8, width = 0.25 } }
data = "pictures"

[data.pictures]
source = { synthetic_pictures = { train = 80, test = 20 } }

[schedules.static]
static = {}
[schedules.cosine]
cosine = {}
"#;

fn browser() -> Option<&'static str> {
    let names = ["chromium", "google-chrome"];
    let found = names.into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        eprintln!("skipped: no browser here ({})", names.join(", "));
    }
    found
}

/// The page opens from a file, runs its script without an error, asks nothing of the network, and shows every
/// arm and its figures.
#[test]
fn the_page_opens_in_a_browser() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("page.toml"), EXPERIMENT).unwrap();
    let ran = run(folder.path(), &["run", "page.toml", "--device", "cpu"]);
    assert_eq!(ran.code, 0, "{}", ran.err);

    let page = folder.path().join("runs/page/report/report.html").canonicalize().unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"])
        .args(["--disable-background-networking", "--disable-sync", "--enable-logging=stderr", "--v=0"])
        .arg(format!("--user-data-dir={}", folder.path().join("profile").display()))
        .args(["--virtual-time-budget=2000", "--dump-dom"])
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let (dom, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(dom.contains("Two rates &amp; one &lt;page&gt;."), "{dom}\n{log}");
    assert!(dom.contains("2 of 2 runs done"), "{dom}");
    assert!(dom.matches("<svg").count() >= 6, "{} figures", dom.matches("<svg").count());
    assert!(!log.contains("Uncaught"), "{log}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(!text.contains("src=\"http") && !text.contains("@import"), "the page asks the network");
}
