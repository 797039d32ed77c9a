use proptest::prelude::*;

use super::*;

fn around(middle: f64, count: usize) -> Vec<f64> {
    (0..count)
        .map(|n| middle + (n * 37 % 100) as f64 - 50.0)
        .collect()
}

fn against(baseline: &[f64]) -> Against<'_> {
    Against::Baseline {
        values: baseline,
        tolerance: 0.0,
    }
}

#[test]
fn worse_fails_alike_passes_little_is_nothing() {
    let (before, worse) = (around(900.0, 200), around(1400.0, 200));
    let metric = Metric::TurnLatencyP95Ms;
    let failed = check(metric, &worse, against(&before), 30);
    assert_eq!(failed.verdict, Verdict::Fail);
    assert!(failed.interval.unwrap().0 > 400.0);
    assert_eq!(
        check(metric, &before, against(&worse), 30).verdict,
        Verdict::Pass
    );
    assert_eq!(
        check(metric, &before, against(&before), 30).verdict,
        Verdict::Pass
    );
    assert_eq!(
        check(metric, &worse[..29], against(&before), 30).verdict,
        Verdict::InsufficientData
    );
    assert_eq!(
        check(metric, &worse, against(&before[..29]), 30).verdict,
        Verdict::InsufficientData
    );
    assert_eq!(
        check(metric, &[], against(&[]), 0).verdict,
        Verdict::InsufficientData
    );
    // Half as much again is allowed here.
    let lenient = Against::Baseline {
        values: &before,
        tolerance: 0.6,
    };
    assert_eq!(check(metric, &worse, lenient, 30).verdict, Verdict::Pass);
}

#[test]
fn a_fixed_target_is_met_or_not() {
    let values = around(500.0, 100);
    let stop = |target| check(Metric::StopP95Ms, &values, Against::Target(target), 30);
    assert_eq!(stop(800.0).verdict, Verdict::Pass);
    assert_eq!(stop(540.0).verdict, Verdict::Fail);
    assert_eq!(stop(800.0).value, Some(544.0));
    let rate: Vec<f64> = (0..100).map(|n| f64::from(n % 10 == 0)).collect();
    let false_rate = |target| {
        check(
            Metric::FalseInterruptionRate,
            &rate,
            Against::Target(target),
            30,
        )
        .verdict
    };
    assert_eq!(false_rate(0.1), Verdict::Pass);
    assert_eq!(false_rate(0.09), Verdict::Fail);
}

#[test]
fn one_failure_fails_all() {
    use Verdict::{Fail, InsufficientData, Pass};
    assert_eq!(Verdict::of_all([Pass, InsufficientData, Fail]), Fail);
    assert_eq!(Verdict::of_all([Pass, InsufficientData]), InsufficientData);
    assert_eq!(Verdict::of_all([Pass, Pass]), Pass);
}

#[test]
fn interruptions_are_held_against_the_targets() {
    let targets = InterruptionTargets::default();
    let mut counts = InterruptionCounts {
        interruptions: 30,
        judged_stops: 30,
        false_interruptions: 3,
        stop_ms: (0..30).map(|n| 500.0 + f64::from(n)).collect(),
        ..InterruptionCounts::default()
    };
    let gate = of_interruptions(&counts, &targets);
    assert_eq!(gate.verdict, Verdict::Pass);
    let passes: Vec<Option<bool>> = gate.checks.iter().map(|check| check.pass).collect();
    assert_eq!(passes, [None, Some(true), None, Some(true)]);
    counts.false_interruptions = 4;
    assert_eq!(of_interruptions(&counts, &targets).verdict, Verdict::Fail);
    // Where nobody knows when the agent stopped, the other numbers may fail it, and cannot pass it.
    let blind = |false_interruptions| {
        let counts = InterruptionCounts {
            stop_ms: Distribution::default(),
            false_interruptions,
            ..counts.clone()
        };
        of_interruptions(&counts, &targets).verdict
    };
    assert_eq!(
        (blind(3), blind(4)),
        (Verdict::InsufficientData, Verdict::Fail)
    );
    counts.interruptions = 29;
    assert_eq!(
        of_interruptions(&counts, &targets).verdict,
        Verdict::InsufficientData
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn the_same_values_in_any_order_give_the_same(
        (values, turned) in prop::collection::vec(0.0f64..5000.0, 1..80)
            .prop_flat_map(|values| (Just(values.clone()), Just(values).prop_shuffle())),
    ) {
        let once = check(Metric::TurnLatencyP95Ms, &values, against(&values), 10);
        let again = check(Metric::TurnLatencyP95Ms, &turned, against(&turned), 10);
        prop_assert_eq!(&once, &again);
        prop_assert_ne!(once.verdict, Verdict::Fail);
    }
}
