//! The report's page in a browser.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use lrlab_tests::browser::{Look, browse, browser};
use lrlab_tests::runner;
use serde_json::{Value, json};

const EXPERIMENT: &str = r#"name = "page"
description = "Two rates & one <page>."

[axes]
model = ["linear"]
schedule = ["static", "step", "exponential", "cosine", "polynomial"]
monitor = ["off", "on"]
epochs = [3, 4]
seed = [0, 1]

[defaults]
lr = 0.05
batch_size = 16
optimizer = { sgd = {} }

[models.linear]
network = { linear = {} }
data = "pictures"
[data.pictures]
source = { synthetic_pictures = { train = 80, test = 20 } }

[schedules.static]
static = {}
[schedules.step]
step = { step_size = "50%" }
[schedules.exponential]
exponential = { decay_rate = 0.3 }
[schedules.cosine]
cosine = { t_max = "100%" }
[schedules.polynomial]
polynomial = { total_iters = "100%" }

[monitors.on]
controller = { plateau = { factor = 0.5, patience = 0 } }
metric = "val_loss"
"#;

struct Grid {
    folder: tempfile::TempDir,
    /// The page while runs were in progress.
    open: String,
}

/// A finished grid, shared by the tests.
fn grid() -> &'static Grid {
    static GRID: OnceLock<Grid> = OnceLock::new();
    GRID.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.toml"), EXPERIMENT).unwrap();
        let mut command = runner(folder.path());
        command.args(["run", "page.toml", "--device", "cpu", "--threads", "1"]);
        let mut running = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut open = String::new();
        let ended = loop {
            if let Some(ended) = running.try_wait().unwrap() {
                break ended;
            }
            let page = folder.path().join("runs/page/report/report.html");
            open =
                std::fs::read_to_string(page).ok().filter(|page| page.contains("data-open")).unwrap_or(open);
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(ended.success(), "{ended}");
        Grid { folder, open }
    })
}

fn report() -> PathBuf {
    grid().folder.path().join("runs/page/report")
}

/// The page exists from the first run on, is complete at any time, and stops reloading itself when the grid has finished.
#[test]
fn the_page_is_kept_up_to_date() {
    let open = &grid().open;
    assert!(open.contains("the grid is running") && open.contains(" of 40 runs done"), "{open}");
    assert!(open.ends_with("</html>\n"));
    let page = std::fs::read_to_string(report().join("report.html")).unwrap();
    assert!(page.contains("40 of 40 runs done") && !page.contains("the grid is running"));
    let names = std::fs::read_dir(report()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort();
    let expected =
        ["figures", "manifest.json", "report.html", "report.md", "ro-crate-metadata.json", "tables"];
    assert_eq!(names, expected);
}

/// Runs the steps on the report's page and returns their value; `None` without a browser.
fn look(hash: &str, size: (u32, u32), steps: &str) -> Option<Value> {
    let browser = browser()?;
    let folder = tempfile::tempdir().unwrap();
    Some(Look { page: &report().join("report.html"), hash, size, steps }.run(browser, folder.path()))
}

const WINDOW: (u32, u32) = (1280, 900);

/// Helpers of the steps; `point` moves the pointer to fractions of the plot's width and height.
const POINT: &str = "const point = (x, y, type = 'mousemove') => {
    const over = one('#curves .u-over');
    const box = over.getBoundingClientRect();
    const place = { bubbles: true, button: 0, clientX: box.left + x * box.width, clientY: box.top + y * box.height };
    over.dispatchEvent(new MouseEvent('mouseenter', place));
    over.dispatchEvent(new MouseEvent(type, { ...place, movementX: 1 }));
};
const release = () => document.dispatchEvent(new MouseEvent('mouseup', { bubbles: true }));
const rows = () => all('#curves .arms tbody tr').filter((row) => row.classList.contains('on'))
    .map((row) => [...row.cells].map((cell) => cell.textContent));
const arm = (name) => all('#curves .arms tbody button').find((button) => button.textContent === name);
const choose = (label, value) => {
    const select = all('#curves .controls label').find((it) => it.textContent.startsWith(label)).querySelector('select');
    select.value = value;
    select.dispatchEvent(new Event('change'));
};";

fn look_at_curves(hash: &str, steps: &str) -> Option<Value> {
    look(hash, WINDOW, &format!("{POINT}{steps}"))
}

/// The page opens from a file without an error or a request and shows every arm. Without scripts all sections are unfolded.
#[test]
fn the_page_opens() {
    let steps = "return {
        text: one('header').innerText + one('main > .progress').innerText, figures: all('svg[role=img]').length, open: all('details[open]').length,
        curves: all('#curves canvas').length, arms: all('.arm').length };";
    let Some(value) = look("", WINDOW, steps) else { return };
    let text = value["text"].as_str().unwrap();
    assert!(text.contains("Two rates & one <page>.") && text.contains("40 of 40 runs done"), "{text}");
    assert!(value["figures"].as_u64().unwrap() >= 9, "{value}");
    assert_eq!((&value["open"], &value["curves"], &value["arms"]), (&json!(0), &json!(1), &json!(20)));
    let page = std::fs::read_to_string(report().join("report.html")).unwrap();
    assert_eq!(page.matches("<details ").count(), page.matches("\" open>").count());
    assert!(page.contains("<section id=\"curves\" hidden>"));
}

/// Mean and standard deviation of a metric over the runs of an arm at an epoch, from `curves.csv`.
fn measured(epochs: u64, schedule: &str, monitor: &str, metric: &str, epoch: u64) -> (f64, f64) {
    let text = std::fs::read_to_string(report().join("tables/curves.csv")).unwrap();
    let names: Vec<&str> = text.lines().next().unwrap().split(',').collect();
    let column = |name: &str| names.iter().position(|other| *other == name).unwrap();
    let (epochs, epoch) = (epochs.to_string(), epoch.to_string());
    let wanted = [("epochs", &*epochs), ("schedule", schedule), ("monitor", monitor), ("epoch", &epoch)];
    let values: Vec<f64> = text
        .lines()
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|row| wanted.iter().all(|(name, value)| row[column(name)] == *value))
        .map(|row| row[column(metric)].parse().unwrap())
        .collect();
    assert_eq!(values.len(), 2, "{wanted:?}");
    let mean = f64::midpoint(values[0], values[1]);
    (mean, (values[0] - values[1]).abs() / 2.0_f64.sqrt())
}

#[test]
fn values_under_the_pointer_equal_the_csv_file() {
    // The pointer is at the second of epochs 1 to 4, a third of the width.
    let steps = "choose('Metric', 'val_loss'); await wait(); point(1 / 3, 0.5); await wait();
        return [one('#curves .arms thead').innerText, rows()];";
    let Some(value) = look_at_curves("#curves&panel=1", steps) else { return };
    assert!(value[0].as_str().unwrap().contains("epoch 2"), "{value}");
    let rows = value[1].as_array().unwrap();
    assert_eq!(rows.len(), 4, "four arms at first: {value}");
    for (row, schedule) in rows.iter().zip(["static", "step", "exponential", "cosine"]) {
        let (mean, spread) = measured(4, schedule, "off", "val_loss", 2);
        assert_eq!(*row, json!([schedule, format!("{mean:.3}"), format!("{spread:.3}"), "2"]));
    }
}

#[test]
fn shown_arms_are_in_the_address() {
    let steps = "const names = () => rows().map((row) => row[0]);
        const seen = [];
        arm('static').click(); seen.push(names(), location.hash);
        arm('polynomial, monitor').click(); seen.push(names(), location.hash);
        for (const detail of [1, 2]) arm('cosine').dispatchEvent(new MouseEvent('click', { detail, bubbles: true }));
        seen.push(names(), location.hash);
        for (const detail of [1, 2]) arm('cosine').dispatchEvent(new MouseEvent('click', { detail, bubbles: true }));
        seen.push(names().length, one('.legend .on').innerText);
        return seen;";
    let Some(value) = look_at_curves("#curves", steps) else { return };
    assert_eq!(value[0], json!(["step", "exponential", "cosine"]));
    assert_eq!(value[1], "#curves&arms=2,4,6");
    assert_eq!(value[2], json!(["step", "exponential", "cosine", "polynomial, monitor"]));
    assert_eq!(value[3], "#curves&arms=2,4,6,9");
    assert_eq!((&value[4], &value[5]), (&json!(["cosine"]), &json!("#curves&arms=6")));
    assert_eq!(value[6], 10, "a double click on the only arm shown shows all arms");
    assert!(value[7].as_str().unwrap().starts_with("10 of 10 arms shown"), "{value}");
}

/// The address restores a view; invalid values in an address are ignored.
#[test]
fn a_view_is_sent_by_its_address() {
    let chosen = "choose('Panel', 1); choose('Metric', 'train_loss'); choose('by', 'update');
        for (const box of all('#curves input[type=checkbox]')) box.click();
        const range = one('#curves input[type=range]'); range.value = 0.6; range.dispatchEvent(new Event('input'));
        await wait(); point(0.2, 0.2); point(0.2, 0.2, 'mousedown'); point(0.7, 0.8);
        release(); await wait();
        return location.hash;";
    let Some(value) = look_at_curves("", chosen) else { return };
    let hash = value.as_str().unwrap();
    let view = "#curves&panel=1&metric=train_loss&x=update&lines=seeds&y=log&smooth=0.6&zoom=";
    assert!(hash.starts_with(view), "{hash}");
    let zoom: Vec<f64> = hash[view.len()..].split(',').map(|x| x.parse().unwrap()).collect();
    assert!(zoom.len() == 4 && zoom[0] < zoom[1] && zoom[2] < zoom[3], "{hash}");
    let state = "const values = all('#curves select').map((select) => select.value);
        const checked = all('#curves input[type=checkbox]').map((box) => box.checked);
        return [values, checked, one('#curves input[type=range]').value, one('#curves .caption').textContent,
            all('#curves .controls button').map((button) => button.disabled)];";
    let back = look_at_curves(hash, state).unwrap();
    assert_eq!(back[0], json!(["1", "train_loss", "update"]));
    assert_eq!((&back[1], &back[2]), (&json!([true, true]), &json!("0.6")));
    let note = back[3].as_str().unwrap();
    assert!(
        note.contains("One line per seed.")
            && note.contains("Smoothing: exponential moving average with weight 0.6"),
        "{note}"
    );
    assert_eq!(back[4], json!([false]), "the zoom can be reset");
    let wrong = look_at_curves("#curves&panel=77&metric=nothing&arms=&zoom=3,1,a&smooth=9", state).unwrap();
    assert_eq!(wrong[0][0], "0");
    assert_eq!((&wrong[1], &wrong[2], &wrong[4]), (&json!([false, false]), &json!("0"), &json!([true])));
}

/// A line per seed replaces the mean and its band.
#[test]
fn a_line_per_seed() {
    let ink = "const drawn = () => { const canvas = one('#curves canvas');
            const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
            let n = 0; for (let i = 3; i < data.length; i += 4) n += data[i] > 0; return n; };
        const band = drawn(); one('#curves input[type=checkbox]').click(); await wait();
        return [band, drawn(), one('#curves .caption').textContent];";
    let Some(value) = look_at_curves("#curves&arms=0", ink) else { return };
    assert!(value[2].as_str().unwrap().starts_with("One line per seed."));
    assert!(value[0].as_u64().unwrap() > 0 && value[0] != value[1], "{value}");
}

/// A click on a line shows its runs and the commands that repeat them.
#[test]
fn a_click_leads_to_the_runs() {
    let steps = "const canvas = one('#curves .u-over').getBoundingClientRect();
        for (let y = 0.02; y < 1 && !one('.pinned').children.length; y += 0.04) {
            point(0.99, y); point(0.99, y, 'mousedown'); point(0.99, y, 'mouseup'); point(0.99, y, 'click');
        }
        return [one('.pinned').innerText, all('.pinned a').map((link) => document.getElementById(link.hash.slice(1)) !== null),
            all('.pinned pre').map((pre) => pre.textContent), location.hash];";
    let Some(value) = look_at_curves("#curves&arms=6", steps) else { return };
    assert!(value[0].as_str().unwrap().starts_with("cosine · validation accuracy at the end"), "{value}");
    assert_eq!(value[1], json!([true, true, true]));
    let commands = value[2].as_array().unwrap();
    assert_eq!(commands.len(), 2);
    assert!(commands.iter().all(|command| command.as_str().unwrap().contains(" --run ")), "{value}");
    assert_eq!(value[3], "#curves&arms=6&pin=6");
}

#[test]
fn tables_are_filtered_and_copied() {
    let steps = "const section = one('#results');
        const copied = []; navigator.clipboard.writeText = async (text) => { copied.push(text); };
        const shown = () => all('#results tbody tr').filter((row) => row.offsetHeight > 0).length;
        const filter = section.querySelector('input[type=search]');
        const before = shown();
        filter.value = 'Cosine on'; filter.dispatchEvent(new Event('input'));
        const count = section.querySelector('.count').textContent;
        for (const button of section.querySelectorAll('.copy button')) { button.click(); await wait(); }
        return { before, after: shown(), count, copied, value: section.querySelector('.count').textContent,
            boxes: all('.scroll[data-name]').every((box) => box.tabIndex === 0 && box.getAttribute('aria-label')) };";
    let Some(value) = look("", WINDOW, steps) else { return };
    assert_eq!((&value["before"], &value["after"]), (&json!(20), &json!(2)), "{value}");
    assert_eq!(
        (&value["count"], &value["value"]),
        (&json!("2 of 20 rows"), &json!("2 rows copied as Markdown"))
    );
    assert_eq!(value["boxes"], true);
    let [csv, latex, markdown] = [0, 1, 2].map(|i| value["copied"][i].as_str().unwrap());
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(
        lines[0].starts_with("epochs,schedule,monitor,runs,") && lines[1].starts_with("3,cosine,on,2/2,"),
        "{csv}"
    );
    assert!(
        latex.starts_with("\\begin{tabular}{@{}rll") && latex.contains("  3 & cosine & on & 2/2 & "),
        "{latex}"
    );
    assert!(latex.contains("$\\pm$") && latex.contains("\\%") && !latex.contains('±'), "{latex}");
    assert!(
        markdown.contains("| ---: | --- | --- |") && markdown.contains("| cosine | on | 2/2 |"),
        "{markdown}"
    );
}

/// The first column is fixed while the others scroll, and the number of hidden columns is shown.
#[test]
fn wide_tables_show_the_number_of_hidden_columns() {
    let steps = "one('#comparisons').open = true; await wait();
        const box = one('#comparisons .scroll');
        const first = box.querySelector('tbody td');
        const more = () => one('#comparisons .more').textContent;
        await until(more);
        const before = [first.getBoundingClientRect().left, more()];
        box.scrollLeft = box.scrollWidth; await wait(); box.dispatchEvent(new Event('scroll'));
        return [...before, first.getBoundingClientRect().left, more()];";
    let Some(value) = look("", (390, 844), steps) else { return };
    assert_eq!(value[0], value[2], "{value}");
    assert!(value[1].as_str().unwrap().contains("more columns to the right"), "{value}");
    assert!(!value[3].as_str().unwrap().contains("to the right"), "{value}");
}

/// On a phone nothing exceeds the screen except in scroll boxes, and text is at least 9 px high.
#[test]
fn a_narrow_screen_cuts_nothing() {
    let steps = "for (const fold of all('details')) fold.open = true; await wait();
        const inside = (element) => element.closest('.scroll, pre, .plot, .arms');
        const wide = all('body *').filter((element) => !inside(element) && element.getClientRects().length
            && element.getBoundingClientRect().right > innerWidth + 1).map((element) => element.outerHTML.slice(0, 90));
        const small = all('body *').filter((element) => !element.closest('svg') && element.getClientRects().length
            && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
            && parseFloat(getComputedStyle(element).fontSize) < 9).map((element) => element.outerHTML.slice(0, 90));
        return [innerWidth, document.documentElement.scrollWidth, wide, small];";
    let Some(value) = look("#curves&pin=0", (390, 844), steps) else { return };
    assert_eq!(value, json!([390, 390, [], []]));
}

/// All sections are printed, including those that are folded on the screen.
#[test]
fn print_has_every_section() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let pdf = folder.path().join("page.pdf");
    let (to, page) = (format!("--print-to-pdf={}", pdf.display()), report().join("report.html"));
    let address = format!("file://{}", page.canonicalize().unwrap().display());
    let _ = browse(browser, folder.path(), &["--generate-pdf-document-outline", &to, &address]);
    let bytes = std::fs::read(&pdf).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let html = std::fs::read_to_string(&page).unwrap();
    let headings: Vec<&str> =
        html.split("<h2>").skip(1).filter_map(|rest| rest.split("</h2>").next()).collect();
    assert!(headings.len() > 3, "{headings:?}");
    for heading in headings.into_iter().filter(|heading| *heading != "Curves") {
        assert!(text.contains(&format!("/Title ({heading})")), "{heading} is not printed");
    }
    // The long tables are printed in landscape format.
    assert!(text.matches("/MediaBox [0 0 841").count() > 5, "the folded tables are not printed");

    let steps = "dispatchEvent(new Event('beforeprint')); const printed = all('details:not([open])').length;
        dispatchEvent(new Event('afterprint')); return [printed, all('details[open]').length];";
    assert_eq!(look("", WINDOW, steps), Some(json!([0, 0])));
    // The layout of narrow screens is not used on paper.
    let steps = "return [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
        .filter((rule) => rule.media?.mediaText.includes('width'))
        .map((rule) => rule.media.mediaText.startsWith('screen and'));";
    let Some(Value::Array(rules)) = look("", WINDOW, steps) else { panic!("no rules") };
    assert!(rules.len() > 3 && rules.iter().all(|rule| *rule == true), "{rules:?}");
}

/// While a grid runs, its page reloads itself and keeps its state.
#[test]
fn reloading_keeps_the_state_of_the_page() {
    let Some(browser) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(report().join("report.html")).unwrap();
    let page = folder.path().join("report.html");
    std::fs::write(&page, text.replacen("<body>", "<body data-open>", 1)).unwrap();
    let steps = "const sorted = () => one('#results th[aria-sort]')?.getAttribute('aria-sort');
        if (performance.getEntriesByType('navigation')[0].type !== 'reload') {
            one('#comparisons').open = true;
            const filter = one('#results input[type=search]');
            filter.value = 'step'; filter.dispatchEvent(new Event('input'));
            one('#results th:nth-child(2) button').click();
            arm('static').click();
            scrollTo({ top: 700, behavior: 'instant' });
            await new Promise(() => {});
        }
        return [scrollY, location.hash, all('details[open]').map((fold) => fold.id), one('#results .count').textContent,
            rows().length, sorted()];";
    let steps = format!("{POINT}{steps}");
    let value = Look { page: &page, hash: "", size: WINDOW, steps: &steps }.run(browser, folder.path());
    assert_eq!(value, json!([700, "#curves&arms=2,4,6", ["comparisons"], "4 of 20 rows", 3, "ascending"]));
}
