//! Runs that exceed the memory of the machine or a device, and the placement of runs by memory.

use lrlab_grid::{Interrupt, LocalExecutor, Memory, Workload};

use crate::TWO;
use crate::common::{self, SUCCEED, execute, executions, run_dir, runs, store};

#[test]
fn runs_out_of_memory_are_retried_alone() {
    let (_folder, store) = store();
    // Fails while another worker runs, and records whether one does.
    let others = "ls \"$RUN\"/../*/up 2> /dev/null | wc -l";
    let hungry = format!(
        "n=$({others}); echo $n >> \"$RUN/company\"; [ -e \"$RUN/attempts/2\" ] || {{ echo 'out of memory' >&2; exit 1; }}\n{SUCCEED}"
    );
    let company = format!(": > \"$RUN/up\"; sleep 0.4; rm \"$RUN/up\"\n{SUCCEED}");
    let scripts = [company.as_str(), &company, &company, &hungry, &company, &company];
    let executor = LocalExecutor { jobs: 3, ..TWO };
    assert_eq!(execute(&store, executor, &scripts).unwrap().done, 6);
    let seen = std::fs::read_to_string(run_dir(&store, 3).join("company")).unwrap();
    assert_eq!(seen.split_whitespace().nth(1), Some("0"), "{seen}");
}

/// Waits a moment, and records the largest number of concurrent runs.
const SOCIABLE: &str = r#": > "$RUN/up"
    for look in 1 2 3 4 5 6; do ls "$RUN"/../*/up 2> /dev/null | wc -l >> "$RUN/company"; sleep 0.05; done
    rm "$RUN/up""#;

/// The largest number of concurrent runs that run `index` saw, itself included.
fn company(store: &lrlab_runs::RunStore, index: usize) -> usize {
    let seen = std::fs::read_to_string(run_dir(store, index).join("company")).unwrap();
    seen.split_whitespace().map(|count| count.parse::<usize>().unwrap()).max().unwrap()
}

#[test]
fn devices_out_of_memory_get_fewer_runs() {
    let (_folder, store) = store();
    // A device with memory for two runs: the first three run at once, and each fails.
    let first = r#"if [ ! -e "$RUN/attempts/2" ]; then
        : > "$RUN/came"
        while [ "$(ls "$RUN"/../*/came | wc -l)" -lt 3 ]; do sleep 0.02; done
        echo 'Error: DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")' >&2; exit 1; fi"#;
    let (first, other) = (format!("{first}\n{SOCIABLE}\n{SUCCEED}"), format!("{SOCIABLE}\n{SUCCEED}"));
    let scripts = [first.as_str(), &first, &first, &other, &other, &other, &other];
    let end = execute(&store, LocalExecutor { jobs: 3, ..TWO }, &scripts).unwrap();
    assert_eq!((end.done, end.failed.len()), (7, 0));
    assert_eq!([0, 1, 2].map(|index| (executions(&store, index), company(&store, index))), [(2, 1); 3]);
    assert_eq!((3..7).map(|index| company(&store, index)).max(), Some(2));
}

/// `SUCCEED`, with the run's peak memory on its device.
fn succeed_with(peak_mib: u64) -> String {
    SUCCEED.replace("\"timing\": {", &format!("\"timing\": {{\"device_peak_mib\": {peak_mib}, "))
}

#[test]
fn runs_are_placed_by_measured_memory() {
    // (memory that the runs are known to need, memory that they need) → largest number of concurrent runs, first and
    // later.
    for (known, found, first, later) in
        [(Some(1000), 1000, 3, 3), (Some(1000), 4000, 3, 1), (Some(5000), 1, 1, 1), (None, 1000, 1, 3)]
    {
        let (_folder, store) = store();
        let script = format!("{SOCIABLE}\n{}", succeed_with(found));
        let runs = runs(7);
        // 9,000 MiB hold 1,968 MiB four times, of which three are started; 5,568 once; 6,768 once.
        let memory = Memory { free_mib: vec![Some(10_000)], peak_mib: vec![known; runs.len()] };
        let share = Workload { memory: Some(memory), ..Workload::all(&store, &runs).unwrap() };
        let executor = LocalExecutor { jobs: 3, ..TWO };
        let worker = |a: &lrlab_grid::Assignment<'_>| common::shell(&store, a, &script);
        let end = executor.run_workload(&store, share, &Interrupt::default(), worker, |_, _| {}).unwrap();
        assert_eq!(end.done, 7);
        let most = |range: std::ops::Range<usize>| range.map(|index| company(&store, index)).max().unwrap();
        assert_eq!((most(0..1), most(5..7)), (first, later), "{known:?} {found}");
    }
}
