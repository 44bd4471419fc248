//! Cycles that restart, and marks of restarts, milestones and ends.

use lrlab_schedulers::{Horizon, MarkKind};

use crate::common::parse;
use crate::{RUN, rates};

/// Cycles that shrink have to end.
#[test]
fn cycles_shrink_within_a_limit() {
    let text = "cosine_warm_restarts = { t_0 = '40 updates', t_mult = 0.5, limit = 3 }";
    assert_eq!(rates(text, &[0, 40, 60]), [0.1; 3]);
    assert_eq!(rates(text, &[70, 79, 80, 81, 99, 1000]), [0.0; 6]);
    let endless = parse(&text.replace(", limit = 3", "")).build(&RUN).unwrap_err().to_string();
    assert_eq!(
        endless,
        "cosine_warm_restarts.t_mult: 0.5 is not a number from 1 to 1e6, or from 1e-6 with a limit"
    );
}

/// PyTorch's float logarithm misses restarts of this kind.
#[test]
fn rounding_misses_no_restart() {
    for factor in [2_u64, 3, 4, 5, 6, 7, 10] {
        for first in 1_u64..60 {
            let text = format!("cosine_warm_restarts = {{ t_0 = '{first} updates', t_mult = {factor} }}");
            let run = Horizon { updates: 1 << 40, updates_per_epoch: 1 };
            let schedule = parse(&text).build(&run).unwrap();
            let mut start = 0;
            for n in 0..6 {
                assert_eq!(schedule.lr(0.1, run.at(start)), 0.1, "{text}, restart {n} at {start}");
                start += first * factor.pow(n);
                assert!(start == first || schedule.lr(0.1, run.at(start - 1)) < 0.1);
            }
        }
    }
}

#[test]
fn marks_of_schedules() {
    use MarkKind::{End, Milestone, Restart};
    let check = |text: &str, expected: &[(u64, MarkKind)]| {
        let found: Vec<_> =
            parse(text).build(&RUN).unwrap().marks().iter().map(|mark| (mark.update, mark.kind)).collect();
        assert_eq!(found, expected, "{text}");
    };
    check("static", &[]);
    check("step = { step_size = '35 updates' }", &[(35, Milestone), (70, Milestone)]);
    check("cosine", &[(100, End)]);
    check("cosine = { t_max = '200 epochs' }", &[]);
    check(
        "cosine_warm_restarts = { t_0 = '1 epoch', t_mult = 2, limit = 3 }",
        &[(10, Restart), (30, Restart), (70, End)],
    );
    check("warmup = { over = '1 epoch', then = { cosine = {} } }", &[(10, Milestone), (100, End)]);
    check(
        "sequential = { milestones = ['50%'], schedulers = [{ cosine = {} }, { step = { step_size = '2 epochs' } }] }",
        &[(50, Milestone), (70, Milestone), (90, Milestone)],
    );
    check(
        "staircase = { step = '10%', of = { step = { step_size = '35 updates' } } }",
        &[(40, Milestone), (70, Milestone)],
    );
    check("repeat = { period = '40 updates', limit = 2, of = { rex = {} } }", &[(40, Restart)]);
}

/// A schedule by epoch restarts at the first epoch after the end of a cycle, and its mark is there.
#[test]
fn restarts_by_epoch_are_marked_where_the_rate_restarts() {
    let run = Horizon { updates: 100, updates_per_epoch: 10 };
    for text in [
        "cosine_warm_restarts = { t_0 = \"2.5 epochs\", every = \"epoch\" }",
        "cosine_warm_restarts = { t_0 = \"15 updates\", t_mult = 2, every = \"epoch\" }",
        "polynomial = { total_iters = \"2.5 epochs\", every = \"epoch\", restarts = {} }",
    ] {
        let schedule = parse(text).build(&run).unwrap();
        let lr = |update| schedule.lr(0.1, run.at(update));
        let rises: Vec<u64> = (1..100).filter(|update| lr(*update) > lr(update - 1)).collect();
        let restarts = schedule.marks().into_iter().filter(|mark| mark.kind == MarkKind::Restart);
        assert_eq!(restarts.map(|mark| mark.update).collect::<Vec<_>>(), rises, "{text}");
        assert!(!rises.is_empty(), "{text}");
    }
}

/// A repeated schedule keeps its own marks in every period.
#[test]
fn repeated_schedules_keep_their_marks() {
    let run = Horizon { updates: 60, updates_per_epoch: 10 };
    let text = "repeat = { period = \"2 epochs\", of = { cosine_warm_restarts = { t_0 = \"8 updates\" } } }";
    let schedule = parse(text).build(&run).unwrap();
    let marks: Vec<u64> =
        schedule.marks().iter().map(|mark| mark.update).filter(|update| *update < 60).collect();
    assert_eq!(marks, [8, 16, 20, 28, 36, 40, 48, 56]);
    let lr = |update| schedule.lr(0.1, run.at(update));
    let rises: Vec<u64> = (1..60).filter(|update| lr(*update) > lr(update - 1)).collect();
    assert_eq!(rises, marks);
}
