//! Runs pages in headless Chromium.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The browser's command; `None`, with a message, if there is none.
#[must_use]
pub fn browser() -> Option<&'static str> {
    let names = ["chromium", "google-chrome"];
    let found = names.into_iter().find(|name| {
        Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        #[expect(clippy::print_stderr, reason = "a skipped test prints a message")]
        {
            eprintln!("skipped: no browser is installed ({})", names.join(", "));
        }
    }
    found
}

/// Runs the browser with these arguments and its profile in `folder`, and returns its output.
///
/// # Panics
/// Panics if the browser cannot be started.
#[must_use]
#[expect(clippy::expect_used, reason = "a test helper")]
pub fn browse(browser: &str, folder: &Path, args: &[&str]) -> String {
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-component-update"])
        .args(["--disable-background-networking", "--disable-sync", "--hide-scrollbars"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(args)
        .output()
        .expect("the browser starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A page, a window, and the steps to run.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// The page.
    pub page: &'a Path,
    /// The fragment of the page's address with `#`, or an empty string.
    pub hash: &'a str,
    /// Width and height of the window in pixels.
    pub size: (u32, u32),
    /// The body of an asynchronous function that runs after the page has loaded and returns a value. `wait()`,
    /// `until(condition)`, `all(selector)` and `one(selector)` are defined.
    pub steps: &'a str,
}

impl Look<'_> {
    /// Runs the steps and returns their value. The page is in a frame, which may be narrower than a window, and may load no
    /// resources.
    ///
    /// # Panics
    /// Panics if the page throws an error or requests a file, or if the steps do not finish.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test helper")]
    pub fn run(self, browser: &str, folder: &Path) -> Value {
        const POLICY: &str = "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
                              script-src 'unsafe-inline'; style-src 'unsafe-inline'\">";
        let text = std::fs::read_to_string(self.page).expect("the page");
        let watch = "<script>const faults = [];\
             addEventListener('error', (event) => faults.push(event.message));\
             addEventListener('securitypolicyviolation', (event) => faults.push(`asks for ${event.blockedURI}`));</script>";
        let steps = format!(
            "<script>addEventListener('load', async () => {{\
             const wait = () => new Promise((done) => setTimeout(done, 100));\
             const until = async (condition) => {{ for (let i = 0; i < 50 && !condition(); i++) await wait(); }};\
             const all = (selector) => [...document.querySelectorAll(selector)];\
             const one = (selector) => document.querySelector(selector);\
             let value = null;\
             try {{ await wait(); value = await (async () => {{ {} }})(); }} catch (error) {{ faults.push(String(error.stack)); }}\
             parent.postMessage({{ faults, value }}, '*');\
             }});</script>",
            self.steps
        );
        let text = text.replacen("<head>", &format!("<head>{POLICY}{watch}"), 1);
        std::fs::write(folder.join("looked-at.html"), text + &steps).expect("a copy");
        let frame = format!(
            "<iframe width={} height={} style='border: 0' src=\"looked-at.html{}\"></iframe><pre></pre>\
             <script>addEventListener('message', (event) => {{ document.querySelector('pre').textContent = \
             encodeURIComponent(JSON.stringify(event.data)); }});</script>",
            self.size.0, self.size.1, self.hash
        );
        let outer = folder.join("frame.html");
        std::fs::write(&outer, frame).expect("a frame");
        let address = format!("file://{}", outer.canonicalize().expect("the page exists").display());
        let dom = browse(
            browser,
            folder,
            &["--window-size=1600,1200", "--virtual-time-budget=20000", "--dump-dom", &address],
        );
        let message = dom.split("<pre>").nth(1).and_then(|rest| rest.split("</pre>").next());
        let message = message.unwrap_or_default();
        assert!(!message.is_empty(), "the steps did not finish: {dom}");
        let message: Value = serde_json::from_str(&decoded(message)).expect("JSON");
        assert_eq!(message["faults"], serde_json::json!([]));
        message["value"].clone()
    }
}

/// Decodes the output of `encodeURIComponent`.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut digit = || rest.next().and_then(|c| char::from(c).to_digit(16)).unwrap_or_default() as u8;
        bytes.push(if byte == b'%' { digit() * 16 + digit() } else { byte });
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
